"""Time exact and approximate search against faiss' flat index, in the same run on one thread.

    python benchmarks/search.py [--rows 100000] [--no-hnsw] [--repeats 5] [--json FILE]

Vectors of 384 numbers come from 24 hidden ones by a fixed random network, with noise: nearest
neighbours have a cosine of about 0.75, as sentences of one topic have. 64 queries are asked at
once, ten answers each. The vectors of the exact search are memory-mapped, as in an index; all cases
take turns, and the medians of their times are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WIDTH, HIDDEN, N_QUERIES, K = 384, 24, 64, 10
BLOCK_ROWS = 50_000


def draw(n: int, seed: int):
    """Return unit vectors (n, 384) float32; the network behind them is the same for all seeds."""
    import numpy as np

    fixed = np.random.default_rng(9)
    first = fixed.standard_normal((HIDDEN, 96), np.float32) / HIDDEN**0.5
    second = fixed.standard_normal((96, WIDTH), np.float32) / 96**0.5
    rng = np.random.default_rng(seed)
    found = np.empty((n, WIDTH), np.float32)
    for start in range(0, n, BLOCK_ROWS):
        m = min(BLOCK_ROWS, n - start)
        block = np.tanh(rng.standard_normal((m, HIDDEN), np.float32) @ first) @ second
        block += 0.075 * rng.standard_normal((m, WIDTH), np.float32)
        found[start : start + m] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return found


def times(cases: dict[str, Callable], n_repeats: int) -> dict[str, float]:
    """Return the median seconds of each case; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(n_repeats + 1):
        for name, work in cases.items():
            began = time.perf_counter()
            work()
            if repeat:  # the first pays for starting up
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(some) for name, some in taken.items()}


def measure(options: argparse.Namespace, folder: Path) -> dict:
    import faiss
    import numpy as np

    from graft.retrieval.exact import rescored, top_k
    from graft.retrieval.hnsw import build_graph, recall

    np.save(folder / "vectors.npy", draw(options.rows, 0))
    vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="c"))
    queries = draw(N_QUERIES, 1)
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(vectors)
    exact = top_k([vectors], queries, K).rows
    theirs = flat.search(queries, K)[1]
    found = {"rows": options.rows, "width": WIDTH, "queries": N_QUERIES, "k": K}
    found["agree"] = recall(exact, theirs)
    cases = {
        "exact": lambda: top_k([vectors], queries, K),
        "faiss_flat": lambda: flat.search(queries, K),
    }
    if not options.no_hnsw:
        began = time.perf_counter()
        built = build_graph([vectors], n_threads=options.threads)
        graph, found["sampled_recall"] = built.graph, built.recall
        found["build_s"], found["search_width"] = time.perf_counter() - began, graph.width
        more = draw(options.queries_for_recall, 2)
        true = top_k([vectors], more, K).rows

        def approximate(asked):
            return rescored([vectors], asked, graph.candidates(asked, K), K)

        found["recall_at_10"] = recall(approximate(more).rows, true)
        cases["hnsw"] = lambda: approximate(queries)
    found["seconds"] = times(cases, options.repeats)
    seconds = found["seconds"]
    found["exact_over_flat"] = seconds["faiss_flat"] / seconds["exact"]
    if "hnsw" in seconds:
        found["hnsw_over_exact"] = seconds["exact"] / seconds["hnsw"]
        found["hnsw_over_flat"] = seconds["faiss_flat"] / seconds["hnsw"]
    return found


def main() -> int:
    """Print the figures, and write them as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--queries-for-recall", type=int, default=1_000)
    parser.add_argument("--no-hnsw", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    import faiss
    import torch

    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    found["threads"] = options.threads
    for name, value in found.items():
        shown = {k: round(v, 4) for k, v in value.items()} if isinstance(value, dict) else value
        print(f"{name:18} {shown:.4g}" if isinstance(shown, float) else f"{name:18} {shown}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
