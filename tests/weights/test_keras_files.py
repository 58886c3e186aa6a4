"""Weights in HDF5: plain numbers in the file itself, and nothing else."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import graft
from graft.errors import MissingExtra, ModelError
from graft.weights.keras_files import read_hdf5


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="needs h5py: pip install 'graft[h5]'")


def refusal(path):
    with pytest.raises(ModelError) as caught:
        read_hdf5(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200
    return str(caught.value)


def test_names_are_paths(h5py, tmp_path):
    path, kernel = tmp_path / "a.h5", np.arange(6, dtype="f4").reshape(2, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("block1/conv/kernel:0", data=kernel, compression="gzip", shuffle=True)
        file.create_dataset("block1/conv/bias:0", data=kernel[0].astype("f8"))
        file.create_dataset("steps", data=np.int64(3))
    tensors, dropped = read_hdf5(path)
    assert tensors.keys() == {"block1/conv/kernel:0", "block1/conv/bias:0", "steps"}
    assert torch.equal(tensors["block1/conv/kernel:0"], torch.from_numpy(kernel))
    assert tensors["block1/conv/bias:0"].dtype == torch.float64
    assert tensors["steps"].shape == ()
    assert dropped == []


def test_of_a_whole_model_the_weights_are_taken(h5py, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Lambda"}'
        file.create_dataset("model_weights/d/kernel:0", data=np.ones(2, "f4"))
        file.create_dataset("optimizer_weights/d/m:0", data=np.ones(2, "f4"))
    tensors, dropped = read_hdf5(path)
    assert set(tensors) == {"d/kernel:0"}
    assert dropped == ["optimizer_weights"]


def test_everything_else_is_refused(h5py, tmp_path):
    def written(write):
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            write(file)
        return refusal(path)

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("y", data=np.ones(2, "f4"))
    assert "is a link" in written(lambda f: f.__setitem__("x", h5py.ExternalLink("other.h5", "/y")))
    assert "is a link" in written(lambda f: f.__setitem__("x", h5py.SoftLink("/y")))
    text = h5py.string_dtype()
    assert "not plain numbers" in written(lambda f: f.create_dataset("x", data="a", dtype=text))
    of_any = h5py.vlen_dtype(np.float32)
    assert "not plain numbers" in written(lambda f: f.create_dataset("x", (2,), dtype=of_any))
    outside = [(str(tmp_path / "raw"), 0, 16)]
    (tmp_path / "raw").write_bytes(bytes(16))
    assert "another file" in written(lambda f: f.create_dataset("x", (4,), "f4", external=outside))
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "y", (2,))
    assert "another file" in written(lambda f: f.create_virtual_dataset("x", layout))


def test_a_damaged_file_is_refused(h5py, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.ones(1000, "f4"), compression="gzip")
    path.write_bytes(path.read_bytes()[:-500])
    assert "is no HDF5 file that opens" in refusal(path)
    path.write_bytes(b"x")
    assert "is no HDF5 file that opens" in refusal(path)


@pytest.mark.slow
def test_a_child_converts_it(h5py, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("d/kernel:0", data=np.ones((2, 3), "f4"), compression="gzip")
    assert graft.convert(tmp_path / "a.h5").n_parameters == 6


def test_without_the_package_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"pip install 'graft\[h5\]'"):
        read_hdf5(tmp_path / "a.h5")
