"""Measure time and peak memory of InfoNCE on a big batch, in tiles, against what it may take.

    python benchmarks/objectives_memory.py [--pairs 32768] [--width 384] [--threads 1] [--json FILE]

A batch may take 5 · N · D · 4 bytes above the peak of a small one: embeddings of both sides, their
gradients, and half as much for all else. Each case runs in a child of its own, as a process's peak
never falls; the small one does the same work on `--small` pairs, so that what the interpreter,
torch and its kernels take cancels out.

Seen once in float32, one thread on 2 busy cores: see docs/rooms/objectives.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

CASES = ("info_nce", "info_nce symmetric", "supervised_contrastive", "triplet")
BOUNDED = ("info_nce", "info_nce symmetric")
"""Those that promise the bound; the others only never store an N × N matrix."""


def work(case: str, n: int, width: int, threads: int) -> dict:
    """Do forward and backward once; return seconds and this process's peak in bytes."""
    import torch

    from graft.objectives.info_nce import TILE_EDGE, info_nce
    from graft.objectives.supervised_contrastive import supervised_contrastive
    from graft.objectives.triplet import triplet

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    anchors = torch.randn(n, width, generator=generator).requires_grad_()
    start = time.perf_counter()
    if case.startswith("info_nce"):
        positives = torch.randn(n, width, generator=generator).requires_grad_()
        temperature = torch.tensor(0.05, requires_grad=True)
        losses, weights = info_nce(
            anchors,
            positives,
            temperature=temperature,
            symmetric=case.endswith("symmetric"),
            block=TILE_EDGE,
        )
    else:
        labels = torch.arange(n) // 4
        objective = {"supervised_contrastive": supervised_contrastive, "triplet": triplet}[case]
        losses, weights = objective(anchors, labels, block=None if n > 64 else 16)
    forward_s = time.perf_counter() - start
    (losses.sum() / weights.sum()).backward()
    total_s = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    # after the peak is read, as the check itself takes the memory of a gradient
    assert anchors.grad is not None and bool(anchors.grad.isfinite().all())
    return {"forward_s": forward_s, "total_s": total_s, "peak_bytes": peak}


def in_child(case: str, n: int, options: argparse.Namespace) -> dict:
    """Run one case in a fresh process."""
    command = [sys.executable, __file__, "--child", case, "--pairs", str(n)]
    command += ["--width", str(options.width), "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> int:
    """Print the table, and write it as JSON if asked; 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=32_768)
    parser.add_argument("--small", type=int, default=64)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(BOUNDED))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(work(options.child, options.pairs, options.width, options.threads)))
        return 0
    allowed = 5 * options.pairs * options.width * 4
    square = options.pairs**2 * 4
    print(f"{options.pairs} pairs of width {options.width}, {options.threads} threads")
    print(f"allowed above the small batch {allowed / 1e6:.0f} MB; N × N is {square / 1e6:.0f} MB")
    print(
        f"{'':24} {'forward s':>10} {'total s':>10} {'small MB':>10} {'above MB':>10} {'N·D·4':>7}"
    )
    rows = []
    for case in options.cases:
        small = in_child(case, options.small, options)
        big = in_child(case, options.pairs, options)
        above = big["peak_bytes"] - small["peak_bytes"]
        row = {"case": case, "small": small, "big": big, "above_bytes": above}
        row["allowed_bytes"] = allowed if case in BOUNDED else None
        rows.append(row)
        print(
            f"{case:24} {big['forward_s']:10.1f} {big['total_s']:10.1f} "
            f"{small['peak_bytes'] / 1e6:10.0f} {above / 1e6:10.0f} {5 * above / allowed:7.2f}",
            flush=True,
        )
    if options.json:
        about = {"pairs": options.pairs, "width": options.width, "threads": options.threads}
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n", "utf-8")
    return int(any(r["allowed_bytes"] and r["above_bytes"] > r["allowed_bytes"] for r in rows))


if __name__ == "__main__":
    sys.exit(main())
