"""What a result depends on beside data and recipe: versions, processor, threads, the commit."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch


def environment() -> dict[str, str]:
    """Return what a result depends on beside data and recipe, for the record."""
    names = ("torch", "transformers", "timm", "torchvision", "numpy")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        **{name: version(name) for name in names},
        **_commit(Path.cwd()),
    }


def _commit(folder: Path) -> dict[str, str]:
    """Return the git commit that is checked out where graft was called, if there is one.

    Read from the repository's files: git itself is not called.
    """
    for place in (folder, *folder.parents):
        own = place / ".git"
        try:
            if own.is_file():  # a further worktree: its own folder, and the common one
                own = place / own.read_text().partition("gitdir:")[2].strip()
            head = (own / "HEAD").read_text().strip()
            common = own / "commondir"
            shared = own / common.read_text().strip() if common.is_file() else own
            name = head.partition("ref:")[2].strip()
            return {"git": _named_commit(shared, name) if name else head}
        except OSError:
            continue
    return {}


def _named_commit(repository: Path, name: str) -> str:
    """Return the commit of a branch, from its own file or from the packed ones."""
    own = repository / name
    if own.is_file():
        return own.read_text().strip()
    packed = repository / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "no commit yet")
