"""What is let through to torch's reader, and what is found in it."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.errors import ModelError
from graft.weights.opcodes import fault_of
from graft.weights.state_dict import find_state_dict, without_prefixes
from graft.weights.torch_files import read_torch


def saved(path, what, **options):
    torch.save(what, path, **options)
    return path


def refusal(path):
    with pytest.raises(ModelError) as caught:
        read_torch(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200
    return str(caught.value)


FORMS = pytest.mark.parametrize("is_zip", [True, False])


@FORMS
def test_state_dicts_of_every_dtype_are_read(is_zip, tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.bool)
    more = {str(kind): torch.ones(2, 3).to(kind) for kind in kinds}
    what = {"net": net.state_dict(), "kinds": more, "epoch": 3, "rate": 0.1, "done": True}
    what["name"], what["betas"], what["weight"] = (
        "x",
        (0.9, 0.99),
        torch.nn.Parameter(torch.ones(2)),
    )
    found = read_torch(saved(tmp_path / "a.pt", what, _use_new_zipfile_serialization=is_zip))
    assert found["epoch"] == 3
    assert torch.equal(found["net"]["0.weight"], net[0].weight)
    assert all(torch.equal(found["kinds"][name], tensor) for name, tensor in more.items())


class Thing:
    pass


@FORMS
@pytest.mark.parametrize(
    "what",
    [
        Thing(),
        torch.nn.Linear(2, 2),
        np.float64(1.0),
        np.ones(3),
        Path("/tmp"),
        {1, 2},
        b"bytes",
        complex(1, 2),
        collections.Counter("ab"),
        torch.device("cpu"),
        print,
        eval,
    ],
    ids=lambda what: type(what).__name__,
)
def test_everything_but_tensors_and_plain_values_is_refused(what, is_zip, tmp_path):
    path = tmp_path / "a.pt"
    saved(path, {"weight": torch.ones(2), "more": what}, _use_new_zipfile_serialization=is_zip)
    assert "no state dict needs" in refusal(path)


@pytest.mark.parametrize("protocol", [4, 5])
def test_newer_protocols_are_refused(protocol):
    assert "which no state dict needs" in (fault_of(io.BytesIO(pickle.dumps("a", protocol))) or "")


def test_the_scan_stops_behind_the_pickle():
    file = io.BytesIO(pickle.dumps({"a": 1}, 2) + pickle.dumps(print, 2))
    assert fault_of(file) is None
    assert "names `__builtin__.print`" in (fault_of(file) or "")
    assert "damaged" in (fault_of(io.BytesIO(b"\x80\x02X\xff\xff\xff\x7fabc")) or "")
    assert "damaged" in (fault_of(io.BytesIO(b"")) or "")


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def test_archives_that_torch_does_not_write_are_refused(tmp_path):
    pickled, path = pickle.dumps({}, 2), tmp_path / "a.pt"
    members = [("a/data.pkl", pickled), ("a/version", b"3\n")]
    assert read_torch(archive(path, members)) == {}
    assert "packed" in refusal(archive(path, members, zipfile.ZIP_DEFLATED))
    assert "TorchScript" in refusal(archive(path, [*members, ("a/constants.pkl", pickled)]))
    assert "TorchScript" in refusal(archive(path, [*members, ("a/code/x.py", b"")]))
    assert "no archive of one" in refusal(archive(path, [*members, ("a/more.pkl", pickled)]))
    assert "no archive of one" in refusal(archive(path, [("a/version", b"3\n")]))
    with pytest.warns(UserWarning, match="Duplicate"):
        archive(path, [*members, members[0]])
    assert "no archive of one" in refusal(path)
    path.write_bytes(path.read_bytes()[:60])
    assert "damaged archive" in refusal(path)


def test_two_readers_of_archives_must_agree(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.pt", [("a/data.pkl", pickle.dumps({}, 2)), ("a/version", b"3\n")])
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pickle.dumps({"x": 1}, 2))
    assert "two faces" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"x", b"ustar" * 200, b"\x89HDF", pickle.dumps({})])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    assert "neither an archive" in refusal(path)


def test_cut_and_flipped_files_are_refused_or_read(tmp_path):
    for is_zip in (True, False):
        path = tmp_path / f"{is_zip}.pt"
        saved(path, {"a": torch.ones(64)}, _use_new_zipfile_serialization=is_zip)
        whole = path.read_bytes()
        for at in range(0, len(whole), len(whole) // 40):
            for damaged in (whole[:at], whole[:at] + b"\x01" + whole[at + 1 :]):
                path.write_bytes(damaged)
                try:
                    read_torch(path)
                except ModelError as error:
                    assert len(str(error)) <= 200


# --- where the weights lie ----------------------------------------------------------------------

W = {"layer.weight": torch.ones(2), "layer.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    ("what", "key"),
    [
        (W, ""),
        ({"state_dict": W, "epoch": 1}, "state_dict"),
        ({"model": W, "model_ema": W}, "model"),
        ({"model_state_dict": W, "optimizer": {"state": {0: torch.ones(2)}}}, "model_state_dict"),
        ({"checkpoint": {"model": W}}, "checkpoint/model"),
        ({"encoder": W, "epoch": 1}, "encoder"),
        ({"state_dict": {f"module.{k}": v for k, v in W.items()}}, "state_dict"),
        ({f"module._orig_mod.{k}": v for k, v in W.items()}, ""),
    ],
)
def test_weights_are_found(what, key):
    found = without_prefixes(find_state_dict(what))
    assert found.key == key
    assert found.tensors.keys() == W.keys()


def test_what_is_left_is_named():
    found = find_state_dict({"model": {**W, "step": 3, "none": None}, "epoch": 3, "args": {"a": 1}})
    assert set(found.dropped) == {"epoch (int)", "args (dict)", "step (int)", "none (nothing)"}
    found = without_prefixes(find_state_dict({f"module._orig_mod.{k}": v for k, v in W.items()}))
    assert found.prefixes == ("module.", "_orig_mod.")


def test_a_prefix_of_some_names_stays():
    found = without_prefixes(find_state_dict({"module.a": torch.ones(1), "b": torch.ones(1)}))
    assert set(found.tensors) == {"module.a", "b"}
    assert without_prefixes(find_state_dict({"module.": torch.ones(1)})).prefixes == ()


@pytest.mark.parametrize("content", [b"", b"\x80\x02\x8a", b"\x80\x02\x8a\x0a", b"PK\x03\x04"])
def test_a_file_of_few_bytes_is_refused(content, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    assert "a.pt: is " in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("what", "key", "words"),
    [
        (torch.ones(2), None, "one tensor"),
        ([W], None, "list"),
        ({}, None, "no state dict"),
        ({"epoch": 3}, None, "no state dict"),
        ({"encoder": W, "decoder": W}, None, "--key encoder or decoder"),
        ({"encoder": W}, "decoder", "no key `decoder`"),
        ({"encoder": W}, "encoder/layer.weight", "one tensor"),
    ],
)
def test_where_it_is_not_clear_the_user_is_asked(what, key, words):
    with pytest.raises(ValueError, match=words):
        find_state_dict(what, key)


def test_a_key_chooses():
    other = {"x": torch.ones(1)}
    assert find_state_dict({"encoder": W, "decoder": other}, "decoder").tensors == other
    assert find_state_dict({"model": W, "ema": {"model": other}}, "ema/model").tensors == other
