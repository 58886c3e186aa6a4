"""Out of memory: refused beforehand with what fits, or taken again in halves, to the same bytes."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from graft.backbones.own import backbone
from graft.engine.checkpoint import load_checkpoint
from graft.engine.fingerprint import fingerprint
from graft.engine.memory import fixed_bytes, halved
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.errors import OutOfMemory, is_out_of_memory
from graft.heads import Linear
from graft.methods.body import full
from graft.methods.plan import Gradient
from graft.model import Model
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream
from tests.faults.killer import forked

NO_MEMORY = (
    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
)


class Tight(Classify):
    """Pretend that more than `most` rows do not fit."""

    most = 4

    def loss(self, encoded, batches, state, progress):
        if batches["train"].n > self.most:
            raise RuntimeError(NO_MEMORY)
        return super().loss(encoded, batches, state, progress)


class Tightest(Classify):
    """Pretend that not even one row fits while training; probes and validation do."""

    def loss(self, encoded, batches, state, progress):
        if progress.n_steps > 1:
            raise RuntimeError(NO_MEMORY)
        return super().loss(encoded, batches, state, progress)


class Broken(Tight):
    def loss(self, encoded, batches, state, progress):
        raise RuntimeError("shapes differ")


def train(
    task=Classify, *, n=24, micro=None, width=8, batch_size=8, norm=True, notes=None, **settings
) -> str:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(width) if norm else nn.Identity()
    net = nn.Sequential(
        nn.Linear(8, width), middle, nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 8)
    )
    model = Model(backbone(net, blocks=["0", "4"], width=8), Linear(8, 3))
    stream = ArrayStream({"input": torch.randn(n, 8)}, {"label": torch.arange(n) % 3})
    by = {"epochs": 2, "batch_size": batch_size, "micro_batch_size": micro}
    resume = settings.pop("resume", False)
    run(
        full(lr=1e-2, **by),
        model,
        task(tuple("abc")),
        {"train": {"train": stream}, "validation": {"train": stream}},
        settings=Settings(**settings),
        listener=Listener(on_note=(notes if notes is not None else []).append),
        resume=resume,
    )
    return fingerprint(model.state_dict().items())


def test_a_step_that_does_not_fit_is_taken_again_in_halves():
    notes: list[str] = []
    # dropout and running statistics included: what was begun has left no trace
    assert train(Tight, notes=notes) == train(micro=4)
    begin = "phase `full`, step 0: out of memory; from here on 4 rows a pass; "
    assert notes == [begin + "batch norm sees no more at once"]
    assert train(Tight, norm=False, notes=notes) == train(micro=4, norm=False)
    assert notes[1] == begin + "they add up to the same steps"
    assert train(Tight) != train()


def test_the_size_that_fits_is_in_the_checkpoint(tmp_path):
    kept = {"checkpoints": tmp_path, "checkpoint_every": 0}
    # written at once, so that what comes next is decided by the checkpoint alone
    assert forked(lambda: train(Tight, **kept), "mid_epoch:1")
    found, _ = load_checkpoint(tmp_path, began_with(tmp_path))
    assert found.values["loop"]["micro_batch_size"] == 4 and found.position.step == 1
    # memory suffices in the second life, and yet the bytes are those of the first
    assert train(Classify, resume=True, **kept) == train(micro=4)


def began_with(folder):
    import json

    newest = max(p for p in folder.iterdir() if p.name.isdecimal())
    return json.loads((newest / "manifest.json").read_text())["began_with"]


def test_one_row_that_does_not_fit_says_what_to_do():
    with pytest.raises(OutOfMemory, match=r"with 1 row a pass; choose a smaller --model"):
        train(Tightest, norm=False)
    with pytest.raises(OutOfMemory, match="with 2 rows a pass"):
        train(Tightest)


def test_other_errors_are_no_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(Broken)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError(NO_MEMORY), True),
        (RuntimeError("std::bad_alloc"), True),
        (ValueError("out of memory"), False),
        (RuntimeError("size mismatch"), False),
    ],
)
def test_how_a_lack_of_memory_is_told(error, is_memory):
    assert is_out_of_memory(error) == is_memory


def test_halves():
    assert [halved(None, 8), halved(4, 8), halved(5, 8), halved(100, 8)] == [4, 2, 3, 4]
    assert halved(3, 8, least=2) == 2
    with pytest.raises(OutOfMemory):
        halved(1, 8)


# --- beforehand -----------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_with_the_number_that_does(monkeypatch):
    options = {"n": 64, "batch_size": 64, "width": 512, "checks_memory": True}
    free = 400_000
    monkeypatch.setattr("graft.engine.prepared.available_bytes", lambda _: free)
    with pytest.raises(
        OutOfMemory, match=r"phase `full` needs about .* 400.0 kB are free"
    ) as found:
        train(**options)
    size = int(str(found.value).partition("--micro-batch-size ")[2].split(",")[0])
    assert 1 <= size < 64
    train(micro=size, **options)
    with pytest.raises(OutOfMemory):
        train(micro=size + 1, **options)
    monkeypatch.setattr("graft.engine.prepared.available_bytes", lambda _: 100)
    with pytest.raises(OutOfMemory, match="choose a smaller --model"):
        train(**options)


def test_measuring_leaves_no_trace():
    assert train(checks_memory=True) == train()


def test_what_a_phase_needs_whatever_its_batch():
    from graft.engine.groups import locate, resolve
    from graft.methods.plan import Rule
    from graft.methods.select import everything

    groups = resolve((Rule(everything(), 1.0),), locate(Model(make_net(), Linear(8, 3))))
    n = sum(g.n_parameters for g in groups)
    assert fixed_bytes(Gradient(), groups) == 3 * 4 * n
    assert fixed_bytes(Gradient(patience=1, ema=0.9), groups) == 5 * 4 * n


def make_net():
    return backbone(nn.Sequential(nn.Linear(8, 8)), blocks=["0"], width=8)


def met_in_halves() -> bool:
    """Train where the address space is limited below what the step wants."""
    options = {"n": 4096, "batch_size": 4096, "width": 4096}
    train(**{**options, "n": 64, "batch_size": 64})
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 180_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    notes: list[str] = []
    train(notes=notes, **options)
    print(notes)
    return any("out of memory; from here on 2048" in note for note in notes)


@pytest.mark.slow
def test_a_limit_of_the_system_is_met_in_halves(repository):
    """The allocator really fails, in a process whose heap no other test has left holes in."""
    script = "from tests.engine.test_memory import met_in_halves; assert met_in_halves()"
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
