"""Law: killed at any moment and resumed gives the weights of the run that was never killed."""

from __future__ import annotations

import functools
import json
import random
import resource
import shutil
import time
from pathlib import Path

import pytest
import torch

from graft.engine import keeper
from graft.engine.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint
from graft.engine.settings import Listener
from graft.errors import ModelError, StorageError
from graft.killpoints import FAIL_AT
from graft.storage import fault
from tests.faults import recipes
from tests.faults.job import job
from tests.faults.killer import forked, spawned, spawned_until, status_of
from tests.faults.recipes import train

ONE = {"recipe": "one", "data": "", "weights": ""}
JOB = str(Path(__file__).resolve().parents[1] / "faults" / "job.py")
POINTS = (
    "after_tensors",
    "after_tmp",
    "before_rename",
    "after_rename",
    "mid_epoch",
    "phase_edge",
    "in_store",
)


@functools.cache
def never_killed(patience: int | None = None, ema: float | None = None) -> str:
    return job(None, patience=patience, ema=ema)


def test_two_runs_are_equal_and_checkpoints_change_nothing(tmp_path):
    assert job(None) == never_killed()
    assert job(tmp_path / "often", every=1) == never_killed()
    assert job(tmp_path / "seldom", every=0) == never_killed()


def test_a_finished_run_that_is_resumed_stays_as_it_is(tmp_path):
    job(tmp_path)
    assert job(tmp_path) == never_killed()


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point(tmp_path, point):
    n_kills = 0
    for nth in (1, 3):
        n_kills += forked(lambda: job(tmp_path), f"{point}:{nth}")
    assert n_kills == 2
    assert job(tmp_path) == never_killed()


@pytest.mark.parametrize("every", [0, 1, 2, 7])
def test_killed_at_any_checkpoint_interval(tmp_path, every):
    assert forked(lambda: job(tmp_path, every=every), "mid_epoch:9")
    assert forked(lambda: job(tmp_path, every=every), "mid_epoch:13")
    # an interval is no part of what is asked: it may change between two lives
    assert job(tmp_path, every=3) == never_killed()


@pytest.mark.slow
def test_killed_while_patience_counts(tmp_path):
    for nth in (4, 9):
        assert forked(lambda: job(tmp_path, patience=1), f"mid_epoch:{nth}")
    assert job(tmp_path, patience=1) == never_killed(1)


@pytest.mark.parametrize("patience", [None, 1])
def test_killed_while_the_weights_are_averaged(tmp_path, patience):
    options = {"patience": patience, "ema": 0.9}
    for nth in (4, 9):
        assert forked(lambda: job(tmp_path, **options), f"mid_epoch:{nth}")
    assert job(tmp_path, **options) == never_killed(**options)
    assert never_killed(**options) != never_killed(patience)


def test_killed_at_random_moments(tmp_path):
    assert kill_until_done(tmp_path, n_kills=4, seed=0) == never_killed()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_at_random_moments_many_times(tmp_path, seed):
    assert kill_until_done(tmp_path, n_kills=30, seed=seed) == never_killed()


def kill_until_done(folder: Path, *, n_kills: int, seed: int) -> str:
    """Kill at random moments, each life long enough to get somewhere; then let one finish."""
    source = random.Random(seed)
    began = time.monotonic()
    job(None)
    whole = time.monotonic() - began
    for _ in range(n_kills):
        if not forked(
            lambda: job(folder, every=source.choice([1, 2, 5])),
            after=source.uniform(0.02, whole / 3),
        ):
            shutil.rmtree(folder)
            folder.mkdir()
    return job(folder)


@pytest.mark.slow
def test_killed_in_an_interpreter_of_its_own(tmp_path):
    arguments = [JOB, str(tmp_path), "2"]
    assert spawned(arguments, {FAIL_AT: "mid_epoch:16", "PYTHONHASHSEED": "1"})
    assert list((tmp_path / "checkpoints").iterdir())
    assert not spawned(arguments, {"PYTHONHASHSEED": "2"})
    assert (tmp_path / "sha256").read_text() == never_killed()


@pytest.mark.slow
def test_killed_in_interpreters_of_their_own_at_random_moments(tmp_path):
    source = random.Random(0)
    arguments = [JOB, str(tmp_path), "2"]
    n_kills = 0
    # a life ends some checkpoints after it began, however fast the machine is
    while n_kills < 3 and spawned_until(
        arguments, tmp_path / "checkpoints", source.randint(1, 3), source.uniform(0, 0.05)
    ):
        n_kills += 1
    assert n_kills
    assert not spawned(arguments, {})
    assert (tmp_path / "sha256").read_text() == never_killed()


# --- damage -------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["tensors.safetensors", "manifest.json"])
@pytest.mark.parametrize("damage", [truncate, flip, empty, Path.unlink])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, name):
    assert forked(lambda: job(tmp_path), "mid_epoch:16")
    newest = max((tmp_path / "checkpoints").iterdir())
    damage(newest / name)
    notes: list[str] = []
    assert job(tmp_path, notes=notes) == never_killed()
    assert any(newest.name in note and "damaged" in note for note in notes)
    assert not any("begins anew" in note for note in notes)


def test_every_flipped_bit_of_a_manifest_is_noticed(tmp_path):
    path = save_checkpoint(tmp_path, a_checkpoint()) / "manifest.json"
    kept = path.read_bytes()
    for at in range(len(kept)):
        path = tmp_path / "00000001" / "manifest.json"
        path.write_bytes(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :])
        found, notes = load_checkpoint(tmp_path, ONE)
        assert found is None
        assert "damaged" in notes[0]
        (tmp_path / "00000001.damaged").rename(tmp_path / "00000001")


def test_a_damaged_checkpoint_does_not_crowd_out_a_good_one(tmp_path):
    for _ in range(2):
        newest = save_checkpoint(tmp_path, a_checkpoint())
    empty(newest / "manifest.json")
    assert load_checkpoint(tmp_path, ONE)[0] is not None
    again = save_checkpoint(tmp_path, a_checkpoint())
    empty(again / "manifest.json")
    assert load_checkpoint(tmp_path, ONE)[0] is not None


def test_all_damaged_begins_anew(tmp_path):
    assert forked(lambda: job(tmp_path), "mid_epoch:12")
    for path in (tmp_path / "checkpoints").glob("*/manifest.json"):
        empty(path)
    notes: list[str] = []
    assert job(tmp_path, notes=notes) == never_killed()
    assert "no checkpoint to resume from: training begins anew" in notes


def test_another_recipe_is_refused(tmp_path):
    assert forked(lambda: job(tmp_path), "mid_epoch:12")
    with pytest.raises(ModelError, match="another recipe"):
        job(tmp_path, recipe="two")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("recipe", "another recipe"),
        ("data", "other data"),
        ("weights", "other weights of the backbone"),
    ],
)
def test_a_checkpoint_that_began_with_something_else_is_refused(tmp_path, what, said):
    path = save_checkpoint(tmp_path, a_checkpoint())
    with pytest.raises(ModelError, match=f"00000001: was written by a run with {said}; resume"):
        load_checkpoint(tmp_path, {**ONE, what: "two"})
    assert path.exists(), "it is whole, and not ours to set aside"


def test_other_weights_under_the_same_name_are_refused(tmp_path):
    assert forked(lambda: train("last:1", tmp_path), "mid_epoch:3")
    stem = recipes.Net.__init__

    def other(self) -> None:
        stem(self)
        self.stem.weight.data.add_(0.01)

    # frozen weights are in no checkpoint: another file under the name would be mixed in
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes.Net, "__init__", other)
        with pytest.raises(ModelError, match="other weights of the backbone"):
            train("last:1", tmp_path)
    assert train("last:1", tmp_path) == train("last:1", None)


def test_a_checkpoint_of_a_later_graft_is_refused_and_kept(tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr("graft.engine.checkpoint.FORMAT", 99)
        path = save_checkpoint(tmp_path, a_checkpoint())
    with pytest.raises(ModelError, match="was written by a later graft; resume with that"):
        load_checkpoint(tmp_path, ONE)
    assert path.exists()


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    """Twice there is no space; the third attempt finds some, and not a bit has changed."""
    tries, notes = [], []
    monkeypatch.setattr(keeper, "PAUSES", (0.0, 0.0, 0.0))
    save = keeper.save_checkpoint

    def sometimes(folder, checkpoint):
        tries.append(checkpoint.position)
        if len(tries) in (2, 3):
            raise fault("a checkpoint", folder, "free some space", number=28)
        return save(folder, checkpoint)

    monkeypatch.setattr(keeper, "save_checkpoint", sometimes)
    assert train("full", tmp_path, 1, Listener(on_note=notes.append)) == train("full", None)
    assert tries[1] == tries[2] == tries[3] != tries[4]
    waits = [note for note in notes if note.endswith("training waits 0 s for space")]
    assert len(waits) == 2 and "No space left on device" in waits[0]


def test_a_disk_that_stays_full_ends_the_run_with_the_last_checkpoint_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "PAUSES", (0.0, 0.0, 0.0))
    tries = []
    save = keeper.save_checkpoint

    def only_once(folder, checkpoint):
        tries.append(checkpoint.position)
        if len(tries) > 1:
            raise fault("a checkpoint", folder, "free some space", number=28)
        return save(folder, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(keeper, "save_checkpoint", only_once)
        with pytest.raises(StorageError, match="No space left") as found:
            train("full", tmp_path, 1)
    assert found.value.exit_code == 74 and len(tries) == 1 + 4
    assert train("full", tmp_path) == train("full", None)


def test_a_limit_of_file_sizes_leaves_no_half_checkpoint(tmp_path):
    """EFBIG is met inside safetensors, which reports it in its own way."""
    path = save_checkpoint(tmp_path, a_checkpoint())

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        big = Checkpoint(Position(), {"w": torch.zeros(100_000)}, {}, ONE)
        try:
            save_checkpoint(tmp_path, big)
        except StorageError as error:
            return 0 if "File too large" in str(error) and not error.is_full else 3
        return 4

    assert status_of(limited) == 0
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_disk_that_is_full_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    first = save_checkpoint(tmp_path, a_checkpoint())

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="No space left on device"):
        save_checkpoint(tmp_path, a_checkpoint())
    assert [p.name for p in tmp_path.iterdir()] == [first.name]


def test_tensors_that_share_memory_are_saved(tmp_path):
    whole = torch.arange(6.0)
    tensors = {"whole": whole, "half": whole[:3], "again": whole.view(2, 3)}
    save_checkpoint(tmp_path, Checkpoint(Position(), tensors, {}, ONE))
    found, _ = load_checkpoint(tmp_path, ONE)
    assert found is not None
    assert all(torch.equal(found.tensors[k], tensors[k]) for k in tensors)


def newest_position(folder: Path) -> tuple[int, int, int] | None:
    """Return phase, epoch and step of the newest checkpoint."""
    numbered = sorted(p for p in folder.iterdir() if p.name.isdecimal())
    if not numbered:
        return None
    position = json.loads((numbered[-1] / "manifest.json").read_text())["position"]
    return position["phase"], position["epoch"], position["step"]


def a_checkpoint() -> Checkpoint:
    return Checkpoint(Position(1, 2, 3), {"w": torch.arange(3.0)}, {"loop": {"x": 0.1}}, ONE)
