"""`graft convert`: what it writes, what it refuses, and how an ended child is reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import graft
from graft.api.converting import weights_of
from graft.backbones import open_backbone
from graft.cli import main
from graft.errors import InputError, ModelError, StorageError
from graft.weights import child
from graft.weights import convert as converting
from graft.weights.answer import read_answer
from graft.weights.child import DTYPES
from graft.weights.convert import Converted
from graft.weights.header import BITS
from graft.weights.state_dict import find_state_dict
from tests.backbones import texts
from tests.weights.evil import write_zip


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["convert", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return stopped.value.code or 0, out, err

    return run


def test_dtypes_are_those_of_the_format():
    assert set(DTYPES.values()) <= BITS.keys()


@pytest.mark.slow
def test_a_nested_state_dict_becomes_safetensors(call, tmp_path):
    weight = torch.randn(4, 4)
    weight[0, 0] = float("nan")
    module = {"a": weight, "tied": weight, "view": weight[1:], "turned": weight.T}
    state = {f"module.{name}": tensor for name, tensor in module.items()}
    torch.save({"model": state, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "net.pth")
    code, out, err = call("net.pth")
    assert code == 0, err
    assert "found under `model`" in out
    assert "took `module.` off" in out
    assert "3 tensors shared memory" in out
    assert "left 2 entries that are not of the weights: epoch (int), optimizer (dict)" in out
    assert "fences around the reader: audit" in out
    found = load_file(tmp_path / "net.safetensors")
    assert found.keys() == module.keys()
    assert all(torch.equal(found[n].isnan(), module[n].isnan()) for n in module)
    assert all(torch.equal(found[n].nan_to_num(), module[n].nan_to_num()) for n in module)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    mode = (tmp_path / "net.safetensors").stat().st_mode
    assert mode == (tmp_path / "net.pth").stat().st_mode


@pytest.mark.slow
def test_a_folder_opens_afterwards(tmp_path):
    source = tmp_path / "old"
    net = texts.saved("bert", source)
    (source / "model.safetensors").unlink()
    (source / "modeling_own.py").write_text("raise SystemExit", encoding="utf-8")
    state = net.state_dict()
    names = sorted(state)
    shards = {"pytorch_model-1.bin": names[:20], "pytorch_model-2.bin": names[20:]}
    for shard, held in shards.items():
        torch.save({f"module.{name}": state[name] for name in held}, source / shard)
    where = {name: shard for shard, held in shards.items() for name in held}
    texts.write(source / "pytorch_model.bin.index.json", {"weight_map": where})
    found = graft.convert(source)
    assert found.out == str(tmp_path / "old-safetensors")
    assert found.n_tensors == len(names)
    assert found.prefixes == ("module.",)
    written = {p.name for p in (tmp_path / "old-safetensors").iterdir()}
    assert written == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    backbone = open_backbone(found.out)
    torch.testing.assert_close(texts.features(backbone), texts.features(texts.opened("bert")))
    with pytest.raises(InputError, match="there already"):
        graft.convert(source)


def test_a_prefix_of_one_shard_alone_stays(tmp_path):
    shards = [tmp_path / "1.bin", tmp_path / "2.bin"]
    torch.save({"model": {"module.a": torch.ones(2)}}, shards[0])
    torch.save({"b": torch.ones(2)}, shards[1])
    found = child._read_all(shards, None)
    assert found.tensors.keys() == {"module.a", "b"}
    assert (found.key, found.prefixes) == ("model", ())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_result_that_cannot_be_written_is_no_fault_of_the_file(call, tmp_path, monkeypatch):
    monkeypatch.setattr(converting, "MEMORY_AT_LEAST", 0)
    monkeypatch.setattr(converting, "MEMORY_PER_BYTE", 0)  # so the result may have no bytes
    torch.save({"a": torch.zeros(1000)}, tmp_path / "net.pt")
    code, _, err = call("net.pt", "--memory", "1")
    assert code == 74
    assert "net.safetensors: cannot be written (File too large); free space or choose" in err
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt"]


@pytest.mark.slow
def test_code_is_refused_and_nothing_is_left(call, tmp_path):
    write_zip(tmp_path / "evil.pt", tmp_path / "it-ran")
    code, _, err = call("evil.pt")
    assert code == 2
    assert err.count("\n") == 1
    assert "which no state dict needs; where it was made, save torch.save" in err
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pt"]


@pytest.mark.slow
def test_a_small_file_that_would_grow_is_refused(call, tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**10)}, tmp_path / "bomb.pt")
    code, _, err = call("bomb.pt")
    assert code == 2
    assert "would become 40,000,000,000" in err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_child_that_wants_too_much_says_so(call, tmp_path):
    torch.save({"a": torch.zeros(30_000_000)}, tmp_path / "net.pt")
    code, _, err = call("net.pt", "--memory", "0.05")
    assert code == 2
    assert "wants more memory than 0.1 GB; pass --memory" in err
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt"]


# --- without a child ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gone.pt", (), "no such file"),
        ("net.safetensors", (), "safetensors already"),
        ("net.pkl", (), "never read"),
        ("net.txt", (), "no format that convert reads"),
        ("net.pt", ("--out", "net.bin"), "rename --out"),
        ("net.pt", ("--out", "taken.safetensors"), "there already"),
        ("folder", (), "one file of weights is wanted (none)"),
        ("two", (), "one file of weights is wanted (a.pt, b.pt)"),
        ("folder", ("--out", "net.txt"), "net.txt: is a file, and a folder becomes a folder"),
        ("folder", ("--out", "two"), "two: is there already"),
    ],
)
def test_what_cannot_be_converted(name, options, words, call, tmp_path):
    for made in ("net.safetensors", "net.pkl", "net.txt", "net.pt", "taken.safetensors"):
        (tmp_path / made).write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "two").mkdir()
    for made in ("a.pt", "b.pt"):
        (tmp_path / "two" / made).write_bytes(b"x")
    code, _, err = call(name, *options)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"x")
    with pytest.raises(StorageError, match="choose another --out"):
        graft.convert(tmp_path / "net.pt", tmp_path / "nowhere" / "net.safetensors")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({}, "lists no shards"),
        ([], "lists no shards"),
        ({"weight_map": {"a": "../x.bin"}}, "not beside it"),
        ({"weight_map": {"a": "gone.bin"}}, "not beside it"),
    ],
)
def test_an_index_lists_files_beside_it(index, words, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "x.bin").write_bytes(b"x")
    texts.write(tmp_path / "model" / "pytorch_model.bin.index.json", index)
    with pytest.raises(ModelError, match=words):
        weights_of(tmp_path / "model")


def test_the_main_file_of_several_is_taken(tmp_path):
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in weights_of(tmp_path)] == ["pytorch_model.bin"]


ENDED = {
    "SIGKILL": "killed by the system: memory",
    "SIGXCPU": "killed by the system: processor time",
    "SIGSEGV": "killed by the system: SIGSEGV",
    "SIGABRT": "wants more memory",
}


@pytest.mark.parametrize("name", ENDED)
def test_a_child_that_is_killed_is_reported(name, tmp_path, monkeypatch):
    """A real process ends so; what it was about to do does not matter."""
    number = getattr(signal, name)
    script = f"import os, time; os.kill(os.getpid(), {int(number)}); time.sleep(9)"
    run = subprocess.run

    def killed(command, **options):
        return run([sys.executable, "-S", "-c", script], **options)

    monkeypatch.setattr(converting.subprocess, "run", killed)
    (tmp_path / "net.pt").write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        graft.convert(tmp_path / "net.pt")
    assert ENDED[name] in str(caught.value)
    assert len(str(caught.value)) <= 200
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt"]


NOTHING = {"tensors": {}, "key": "", "prefixes": [], "dropped": []}
ANSWER = NOTHING | {"n_dropped": 0, "n_shared": 0, "fences": ["audit"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"tensors": []},
        {"tensors": {"a": "F32"}},
        {"tensors": {"a": ["F32", [-1]]}},
        {"tensors": {"a": ["F32", [True]]}},
        {"key": None},
        {"key": "x" * 9999},
        {"prefixes": "module."},
        {"dropped": [3]},
        {"n_dropped": "3"},
        {"n_shared": 1.5},
        {"fences": ["a wall"]},
        {"error": ["x"], "kind": "ModelError"},
        {"error": "x", "kind": {}},
        {"error": "x", "kind": "StorageError", "errno": 10**30},
    ],
)
def test_an_answer_of_another_shape_is_refused(changes):
    assert read_answer(json.dumps(ANSWER)).fences == ("audit",)
    with pytest.raises(ValueError, match=r"^(no |fences that are not known)"):
        read_answer(json.dumps({**ANSWER, **changes}))


def answering(text):
    return lambda command, **_: subprocess.CompletedProcess(command, 0, text, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "no answer of ours (no object); do not trust this file"),
        ("[" * 100_000, "no answer of ours (nested without end)"),
        ("{", "no answer of ours"),
        ("", "ended without an answer"),
        ('{"error": "a\\u001b[2Jb\\nc", "kind": "ModelError"}', r"a\x1b[2Jb\nc"),
        ('{"error": "KeyError: 3", "kind": "KeyError"}', "cannot be converted (KeyError: 3)"),
    ],
)
def test_whatever_the_child_says_is_one_line(text, words, call, tmp_path, monkeypatch):
    monkeypatch.setattr(converting.subprocess, "run", answering(text))
    (tmp_path / "net.pt").write_bytes(b"x")
    code, _, err = call("net.pt")
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def converted(**changes):
    plain = Converted("a", "b", 2, 6, 24, "", (), (), 0, 0, ("audit", "landlock", "seccomp"))
    return replace(plain, **changes)


def test_the_verb_names_the_fences_and_prints_no_escapes(call, monkeypatch):
    found = [converted(key="a\x1b[2J", prefixes=("\x07",), dropped=("\x1bc",), n_dropped=1)]
    monkeypatch.setattr("graft.api.converting.convert", lambda *_, **__: found[0])
    _, out, _ = call("net.pt")
    assert "found under `a\\x1b[2J`" in out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "fences around the reader: audit, landlock, seccomp\n" in out
    assert "no fence of the kernel" not in out
    found[0] = converted(fences=("audit",))
    assert "no fence of the kernel stood" in call("net.pt")[1]


def test_parts_are_counted_and_links_out_are_left(tmp_path, monkeypatch):
    source, secret = tmp_path / "model", tmp_path / "id_rsa"
    secret.write_text("secret", encoding="utf-8")
    module = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    texts.write(source / "modules.json", [module])
    texts.write(source / "2_Dense" / "config.json", {})
    for part in ("", "2_Dense"):
        (source / part / "pytorch_model.bin").write_bytes(b"x")
        (source / part / "vocab.txt").symlink_to(secret)
    (source / "merges.txt").symlink_to(source / "modules.json")
    asked = []

    def faked(sources, out, *, key=None, memory_bytes=None):
        asked.append(memory_bytes)
        fences = ("audit", "seccomp") if len(asked) == 1 else ("audit",)
        return converted(n_shared=1, dropped=("epoch (int)",), n_dropped=60, fences=fences)

    monkeypatch.setattr("graft.api.converting.convert_files", faked)
    found = graft.convert(source, memory_bytes=5)
    assert asked == [5, 5]
    assert (found.n_tensors, found.n_parameters, found.size_bytes, found.n_shared) == (4, 12, 48, 2)
    assert found.dropped[:2] == ("vocab.txt (link out of the folder)",) * 2
    assert found.n_dropped == 122
    assert found.fences == ("audit",)
    written = {p.relative_to(found.out).as_posix() for p in Path(found.out).rglob("*.*")}
    assert written == {"modules.json", "merges.txt", "2_Dense/config.json"}


def test_a_child_that_lies_is_not_believed(tmp_path, monkeypatch):
    answer = {**ANSWER, "tensors": {"a": ["F32", [2]]}}

    def lying(command, **options):
        out = json.loads(options["input"])["out"]
        torch.manual_seed(0)
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(3)}, out)
        return subprocess.CompletedProcess(command, 0, json.dumps(answer), "")

    monkeypatch.setattr(converting.subprocess, "run", lying)
    (tmp_path / "net.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match="not what was read"):
        graft.convert(tmp_path / "net.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt"]


def test_the_child_knows_little(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://x")
    environment = converting._environment()
    assert "secret" not in environment.values()
    assert environment.keys() & {"HOME", "HTTPS_PROXY", "HF_TOKEN"} == set()
    assert os.pathsep.join(p for p in sys.path if p) == environment["PYTHONPATH"]


def test_a_name_that_the_format_keeps_is_refused():
    with pytest.raises(ValueError, match="the name `__metadata__`, which safetensors keeps"):
        find_state_dict({"__metadata__": torch.zeros(1), "w": torch.zeros(1)})
