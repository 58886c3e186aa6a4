"""Checkpoints: what a run needs to go on as if it had never stopped.

Order of batches, augmentation, dropout and rates are pure functions of seed, phase and step, so a
checkpoint is small: the tensors that training has changed, the optimiser's moments by parameter
name, the best weights so far, and a few numbers. Written to a temporary folder, fsynced, renamed,
and only then named in the manifest with its hash; the one before is kept until then.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from graft.data.faults import LONGEST_LINE, shorten_path
from graft.disk import fsync, sha256_of
from graft.engine.processes import like
from graft.errors import ModelError
from graft.killpoints import fail_at
from graft.storage import storing

FORMAT = 1
"""Of a checkpoint. A later version of graft that writes another one raises it."""

KEEP = 2

BEGAN_WITH = {
    "recipe": "another recipe",
    "data": "other data",
    "weights": "other weights of the backbone",
}
"""What a run begins with → what is said where a checkpoint's differs."""


@dataclass(frozen=True)
class Position:
    """Say where training stands: everything before is done."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""


@dataclass
class Checkpoint:
    """Hold one checkpoint.

    Args:
        position: where training goes on.
        tensors: `model.*`, `state.*`, `optimizer.*`, `best.*`, `average.*` by name.
        values: everything else, JSON.
        began_with: hashes by the names in `BEGAN_WITH`; where one differs, resuming is refused.
    """

    position: Position
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any] = field(default_factory=dict)
    began_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint so that a crash at any moment leaves a good one.

    Raises:
        StorageError: the disk is full or read-only; the last good checkpoint is intact.
    """
    number = max((n for n, _ in _numbered(folder)), default=0) + 1
    temporary = folder / f".{number:08d}.tmp"
    target = folder / f"{number:08d}"
    mend = "the last one is intact: free some space, then pass --resume"
    try:
        with storing("a checkpoint", folder, mend, needed_bytes=checkpoint.size_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            _write(temporary, checkpoint)
            fail_at("before_rename")
            temporary.replace(target)
            fail_at("after_rename")
            fsync(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for _, old in sorted(_numbered(folder))[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _write(temporary: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint's files into a new folder and wait until they are on the disk."""
    temporary.mkdir()
    save_file(_separate(checkpoint.tensors), temporary / "tensors.safetensors")
    fail_at("after_tensors")
    manifest = {
        "format": FORMAT,
        "position": asdict(checkpoint.position),
        "values": checkpoint.values,
        "began_with": dict(checkpoint.began_with),
        "sha256": sha256_of(temporary / "tensors.safetensors"),
    }
    manifest["manifest_sha256"] = _digest(manifest)
    (temporary / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    fail_at("after_tmp")
    for path in temporary.iterdir():
        fsync(path)
    fsync(temporary)


def load_checkpoint(
    folder: Path, began_with: Mapping[str, str]
) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """Return the newest checkpoint that verifies, and notes on those that did not.

    Raises:
        ModelError: the checkpoint belongs to a run that began with something else, or to a later
            version of graft.
    """
    notes = []
    for _, path in sorted(_numbered(folder), reverse=True):
        try:
            manifest = _verified(path)
            if manifest["format"] > FORMAT:
                raise _refusal(
                    path, "was written by a later graft", "resume with that, or train anew"
                )
            tensors = load_file(path / "tensors.safetensors")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            notes.append(f"checkpoint {path.name} is damaged ({reason}): the one before is used")
            _set_aside(path)
            continue
        was = manifest["began_with"]
        odd = [what for what in BEGAN_WITH if was.get(what) != began_with.get(what)]
        if odd:
            raise _refusal(
                path,
                f"was written by a run with {' and '.join(BEGAN_WITH[what] for what in odd)}",
                "resume with the same, or train into a new folder",
            )
        position = Position(**manifest["position"])
        return Checkpoint(position, tensors, manifest["values"], was), tuple(notes)
    return None, tuple(notes)


def _verified(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint whose hashes are right; raise otherwise."""
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    if manifest.pop("manifest_sha256") != _digest(manifest):
        raise ValueError("its manifest's hash differs")
    if sha256_of(path / "tensors.safetensors") != manifest["sha256"]:
        raise ValueError("its hash differs")
    return manifest


def _refusal(path: Path, found: str, mend: str) -> ModelError:
    text = f": {found}; {mend}"
    return ModelError(shorten_path(str(path), LONGEST_LINE - len(text)) + text)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's moments by parameter name."""
    found = {}
    for entry in optimizer.param_groups:
        for name, parameter in zip(entry["names"], entry["params"], strict=True):
            for key, value in optimizer.state.get(parameter, {}).items():
                found[f"{name}/{key}"] = torch.as_tensor(value)
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give the optimiser its moments back; its groups are those of the plan already."""
    for entry in optimizer.param_groups:
        # the count of steps stays on the CPU, but for the kernel that does all at once
        step_too = entry.get("fused")
        for name, parameter in zip(entry["names"], entry["params"], strict=True):
            prefix = f"{name}/"
            state = {
                key.removeprefix(prefix): like(value, parameter)
                if step_too or key != f"{prefix}step"
                else value
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
            if state:
                optimizer.state[parameter] = state


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    return [(int(p.name), p) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir()]


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, none sharing memory with another, as safetensors wants."""
    found, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return found


def _set_aside(path: Path) -> None:
    """Take a damaged checkpoint out of the count, or it would crowd out a good one."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(OSError):
        path.replace(aside)


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
