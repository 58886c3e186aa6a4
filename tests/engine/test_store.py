"""Laws of the store: completed to identical bytes, keyed by everything that its content is."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.engine import store as store_module
from graft.engine.feeds import find_feeds
from graft.engine.groups import locate, resolve
from graft.engine.prefix import store_key
from graft.engine.store import RowStore
from graft.engine.stores import _about, _below
from graft.errors import StorageError
from graft.methods.plan import Rule
from graft.methods.select import blocks, everything, head, neck
from graft.tasks.classify import Classify
from tests.engine.specimens import model_of
from tests.engine.streams import SpecimenStream
from tests.zoo import ZOO

N_ROWS, GROUP = 22, 4
RAGGED = ((), (1,), (1, 2))
DTYPES = (torch.float32, torch.bfloat16, torch.int64)


def row(i: int) -> list[torch.Tensor]:
    """One fixed and two ragged leaves, pure functions of the row's number."""
    source = torch.Generator().manual_seed(i)
    n = 1 + i % 5
    shapes = ((2, 3), (1, n, 4), (1, n, n + 1))
    return [
        (torch.randn(shape, generator=source) * 100).to(dtype)
        for shape, dtype in zip(shapes, DTYPES, strict=True)
    ]


def groups(seed: int = 0) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(N_ROWS)
    return [order[i : i + GROUP] for i in range(0, N_ROWS, GROUP)]


def write(store: RowStore, stop: int | None = None) -> None:
    for index, rows in enumerate(groups()):
        if index == stop:
            return
        values = [row(int(i)) for i in rows]
        store.write_group(index, rows, list(zip(*values, strict=True)))
    store.finish()


def opened(folder: Path) -> RowStore:
    return RowStore(folder, N_ROWS, RAGGED)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_rows_come_back_in_any_order(tmp_path):
    write(opened(tmp_path / "s"))
    store = opened(tmp_path / "s")
    assert store.is_complete
    for rows in (np.arange(N_ROWS)[::-1], np.asarray([5, 5, 0]), np.asarray([21])):
        for leaf, tensors in enumerate(store.read(rows)):
            for i, tensor in zip(rows, tensors, strict=True):
                assert tensor.dtype == DTYPES[leaf]
                assert torch.equal(tensor, row(int(i))[leaf])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.bool])
def test_a_leaf_of_one_shape_opens_as_one_array(tmp_path, dtype):
    values = (torch.randn(5, 1, 3) * 10).to(dtype)
    store = RowStore(tmp_path / "s", 5, [()])
    store.write_group(0, np.arange(5), [list(values)])
    store.finish()
    array = RowStore(tmp_path / "s", 5, [()]).array(0)
    np.testing.assert_array_equal(array.astype(np.float32), values.float().numpy())


GARBAGE = (b"", b"\0" * 3, os.urandom(1000))


@pytest.mark.parametrize("save_every", [1, 2, 64])
@pytest.mark.parametrize("stop", range(6))
def test_half_written_is_completed_to_identical_bytes(tmp_path, monkeypatch, stop, save_every):
    monkeypatch.setattr(store_module, "SAVE_EVERY", save_every)
    write(opened(tmp_path / "whole"))
    for i, garbage in enumerate(GARBAGE):
        folder = tmp_path / f"half{i}"
        write(opened(folder), stop)
        for path in folder.glob("*.bin") if folder.exists() else ():
            with path.open("ab") as file:
                file.write(garbage)
        again = opened(folder)
        assert not again.is_complete
        assert again.n_groups == stop - stop % save_every
        write(again)
        assert contents(folder) == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["leaf1.idx", "leaf0.bin", "leaf1.bin", "progress.json"])
@pytest.mark.parametrize("how", ["shorter", "missing"])
def test_files_shorter_than_progress_says_are_written_anew(tmp_path, monkeypatch, name, how):
    monkeypatch.setattr(store_module, "SAVE_EVERY", 1)
    write(opened(tmp_path / "whole"))
    write(opened(tmp_path / "half"), 3)
    path = tmp_path / "half" / name
    kept = path.read_bytes()
    path.unlink()
    if how == "shorter":
        path.write_bytes(kept[:7])
    again = opened(tmp_path / "half")
    assert again.n_groups == 0
    write(again)
    assert contents(tmp_path / "half") == contents(tmp_path / "whole")


def test_a_complete_store_that_lost_bytes_is_written_anew(tmp_path):
    write(opened(tmp_path / "whole"))
    write(opened(tmp_path / "lost"))
    os.truncate(tmp_path / "lost" / "leaf0.bin", 10)
    again = opened(tmp_path / "lost")
    assert not again.is_complete
    write(again)
    assert contents(tmp_path / "lost") == contents(tmp_path / "whole")


def test_a_full_disk_is_a_storage_error(tmp_path, monkeypatch):
    real = Path.open

    def full(path, mode="r", *args, **kwargs):
        if path.suffix == ".bin" and mode != "rb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write(opened(tmp_path / "s"))
    monkeypatch.setattr(Path, "open", real)
    write(opened(tmp_path / "s"))
    assert opened(tmp_path / "s").is_complete


def test_a_manifest_that_cannot_be_written_is_a_storage_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(StorageError):
        write(opened(tmp_path / "s"))


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write(opened(tmp_path / "file" / "s"))


# --- keys -------------------------------------------------------------------------------------


RULES = (Rule(head(), 1e-3), Rule(neck(), 1e-3), Rule(blocks(-1), 1e-3), Rule(everything(), None))
TASK = Classify(tuple("abc"))


def key_of(model, stream, feeds) -> str:
    frozen = frozenset(
        m.place.name for g in resolve(RULES, locate(model)) if g.rule.lr is None for m in g.members
    )
    replay = feeds.replays["train"]
    return store_key(replay, _below(model, frozen, replay), stream, _about(model, TASK))


@pytest.fixture(scope="module")
def keyed():
    model = model_of(ZOO["resnet"])
    stream = SpecimenStream(ZOO["resnet"], 6)
    feeds = find_feeds(model, None, TASK, resolve(RULES, locate(model)), {"train": stream})
    assert feeds.replays
    return model, stream, feeds


def changed(tensor: torch.Tensor, model, stream, feeds) -> bool:
    before = key_of(model, stream, feeds)
    with torch.no_grad():
        tensor.view(-1)[0] += 0.5
    after = key_of(model, stream, feeds)
    with torch.no_grad():
        tensor.view(-1)[0] -= 0.5
    return before != after


def test_what_changes_the_key(keyed):
    model, stream, feeds = keyed
    chain = model.backbone.chains[0]
    top = model.get_submodule(f"backbone.net.{chain.parts[-2][0]}")
    below = model.get_submodule(f"backbone.net.{chain.parts[1][0]}")
    assert key_of(model, stream, feeds) == key_of(model, stream, feeds)
    for tensor in (*below.parameters(), *below.buffers()):
        if tensor.is_floating_point():
            assert changed(tensor, model, stream, feeds)
    for tensor in (*top.parameters(), *top.buffers(), *model.head.parameters()):
        if tensor.is_floating_point():
            assert not changed(tensor, model, stream, feeds)


def test_other_rows_or_another_processor_change_the_key(keyed):
    model, stream, feeds = keyed
    other = SpecimenStream(ZOO["resnet"], 6, first=1)
    assert key_of(model, stream, feeds) != key_of(model, other, feeds)
    stream.key, kept = f"another-processor/{stream.key}", stream.key
    assert key_of(model, stream, feeds) != key_of(model, other, feeds)
    stream.key = kept


def test_a_tied_weight_whose_lowest_name_comes_second_changes_the_key():
    from tests.engine.enemies import tied

    model, stream = tied()
    feeds = find_feeds(model, None, TASK, resolve(RULES, locate(model)), {"train": stream})
    assert feeds.replays, feeds.reason
    assert changed(model.backbone.net.layers[0].weight, model, stream, feeds)


def test_a_buffer_of_no_part_changes_the_key():
    from tests.engine.enemies import tied

    model, stream = tied()
    feeds = find_feeds(model, None, TASK, resolve(RULES, locate(model)), {"train": stream})
    assert changed(model.backbone.net.mean, model, stream, feeds)
