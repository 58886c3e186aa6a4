"""How to run, as far as it does not change what is learned, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graft.engine.loop import StepEvent
from graft.engine.processes import Strategy
from graft.phase_records import PhaseRecord


@dataclass(frozen=True)
class Settings:
    """Say how to run, as far as it does not change what is learned.

    Args:
        seed: of everything random.
        precision: `fp32` or `bf16` (this one does change bits).
        strategy: `ddp` or `fsdp`, where there are several processes.
        cache: folder of the feature stores; None computes every prefix anew.
        cache_bytes: most bytes of stores per split.
        checkpoints: folder of checkpoints; None writes none.
        checkpoint_every: steps between checkpoints inside an epoch; 0 for epoch ends alone.
        workers: threads that read examples ahead; 0 reads them when they are needed.
        recipe: hash of what is asked, so that a checkpoint of another run is refused.
        data: hash of the examples, for the same purpose.
        checks_memory: refuse a phase that does not fit into memory before training begins.
    """

    seed: int = 0
    precision: str = "fp32"
    strategy: Strategy = "ddp"
    cache: Path | None = None
    cache_bytes: int = 4_000_000_000
    checkpoints: Path | None = None
    checkpoint_every: int = 200
    workers: int = 0
    recipe: str = ""
    data: str = ""
    checks_memory: bool = False


@dataclass(frozen=True)
class Listener:
    """What a run tells while it goes on; every field is a function that may do nothing."""

    on_phase: Callable[[str, int, int, str], None] = lambda *_: None
    on_step: Callable[[StepEvent], None] = lambda *_: None
    on_phase_end: Callable[[PhaseRecord], None] = lambda *_: None
    on_note: Callable[[str], None] = lambda *_: None
    on_rows: Callable[[str, int, int], None] = lambda *_: None
