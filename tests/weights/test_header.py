"""Law: every file of weights, however damaged, is read or refused by one line; never a crash."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from graft.errors import ModelError
from graft.weights.header import LARGEST_HEADER_BYTES, read_header
from graft.weights.reading import read_tensors, refuse_not_finite

N_MUTATIONS = int(os.environ.get("GRAFT_FUZZ", "200"))
TENSORS = {
    "layer.weight": torch.arange(12.0).reshape(3, 4),
    "layer.bias": torch.ones(3, dtype=torch.bfloat16),
    "steps": torch.tensor(7),
    "nothing": torch.zeros(0, 4),
}


@pytest.fixture
def path(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def packed(header, data=b"", n=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if n is None else n).to_bytes(8, "little") + text + data


def entry(start=0, end=8, dtype="F32", shape=(2,), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end], **more}


def refusal(path):
    with pytest.raises(ModelError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= 200
    assert path.name in message
    return message


def test_a_whole_file_is_read(path):
    found = read_tensors(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    header = read_header(path)
    assert header.metadata == {"format": "pt"}
    assert header.tensors["layer.bias"].dtype == "BF16"
    assert header.tensors["layer.weight"].shape == (3, 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no whole safetensors"),
        (packed({}, n=1 << 60), "no whole safetensors"),
        (packed({}, n=LARGEST_HEADER_BYTES + 1), "no whole safetensors"),
        (packed(b"[" * 100), "no safetensors file"),
        (packed(b"{" + b'"a":{' * 100_000), "no JSON"),
        (packed(b'{"a":' + b"[" * 100_000), "no JSON"),
        (packed(b"\xff{}".replace(b"\xff{", b'{"\xff"')), "no JSON"),
        (packed({"__metadata__": {"a": 1}}), "__metadata__"),
        (packed({"a": entry()}, bytes(7)), "7 bytes of tensors"),
        (packed({"a": entry()}, bytes(9)), "9 bytes of tensors"),
        (packed({"a": entry(), "b": entry(4, 12)}, bytes(12)), "`b` does not lie"),
        (packed({"a": entry(), "b": entry(12, 20)}, bytes(20)), "`b` does not lie"),
        (packed({"a": entry(), "b": entry()}, bytes(8)), "does not lie"),
        (packed({"a": entry(shape=(3,))}, bytes(8)), "`a` does not lie"),
        (packed({"a": entry(shape=(1 << 62, 1 << 62))}, bytes(8)), "`a` does not lie"),
        (packed({"a": entry(shape=(-2, -1))}, bytes(8)), "no dtype and shape"),
        (packed({"a": entry(shape=(True, 2))}, bytes(8)), "no dtype and shape"),
        (packed({"a": entry(shape=(2.0,))}, bytes(8)), "no dtype and shape"),
        (packed({"a": entry(dtype="object")}, bytes(8)), "no dtype and shape"),
        (packed({"a": entry(dtype=["F32"])}, bytes(8)), "no dtype and shape"),
        (packed({"a": entry(more=1)}, bytes(8)), "not described"),
        (packed({"a": entry(start=-8, end=0)}, bytes(8)), "not described"),
        (packed({"a": [1, 2]}, bytes(8)), "not described"),
        (packed(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)), "twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_format_does_not_allow_is_refused(content, words, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_name_cannot_break_the_line(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(packed({"a\n\x1b[31m" + "b" * 500: entry(dtype="?")}, bytes(8)))
    assert "\x1b" not in refusal(path)


def test_an_absent_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "gone.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    refusal(tmp_path / "folder.safetensors")


def test_mutated_files_load_or_are_refused(path):
    """`GRAFT_FUZZ=10000` tries as many."""
    whole = path.read_bytes()
    chance = random.Random(0)
    n_refused = 0
    for _ in range(N_MUTATIONS):
        path.write_bytes(mutated(whole, chance))
        try:
            found = read_tensors(path)
        except ModelError as error:
            n_refused += 1
            assert len(str(error)) <= 200
            assert "\n" not in str(error)
        else:
            assert sum(t.numel() * t.element_size() for t in found.values()) <= len(whole) + 64
    assert 0 < n_refused < N_MUTATIONS


def mutated(whole, chance):
    """Return a file with flipped bits, cut, doubled, or overwritten somewhere."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data)) if chance.random() < 0.4 else chance.randrange(300)
        at = min(at, len(data) - 1)
        kind = chance.randrange(5)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.choice(b'0123456789"{}[],:-e\x00\xff')
        elif kind == 2:
            data[at : at + chance.randint(1, 8)] = bytes(chance.randint(0, 8))
        elif kind == 3 and len(data) > 40:
            del data[chance.randrange(20, len(data)) :]
        else:
            data[0:8] = chance.randrange(1 << 16).to_bytes(8, "little")
    return bytes(data)


READ = """
import resource, sys
from pathlib import Path
from graft.weights.reading import read_tensors
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_tensors(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_reading_takes_less_memory_than_two_files(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({str(i): torch.zeros(4_000_000) for i in range(8)}, path)
    done = subprocess.run(
        [sys.executable, "-c", READ, path],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    scale = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * scale < 2 * path.stat().st_size


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_parameter_that_is_not_finite_is_refused(value):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3))
    refuse_not_finite(net, "model")
    net[0].bias.data[1] = value
    with pytest.raises(ModelError, match=r"model: tensor `0\.bias` holds NaN or infinity"):
        refuse_not_finite(net, "model")


def test_a_mask_may_hold_infinities_and_large_numbers_are_finite():
    net = torch.nn.Linear(2, 3)
    net.register_buffer("mask", torch.full((2,), -float("inf")))
    net.weight.data.fill_(3e38)
    refuse_not_finite(net, "model")
    net.mask[0] = float("nan")
    with pytest.raises(ModelError, match="`mask`"):
        refuse_not_finite(net, "model")
