"""Measure the anonymous memory of `probe` as rows grow: at most a constant and 2 · N · D · 4 bytes.

    python benchmarks/race/memory.py --json memory.json

Each number of rows has a process of its own: a small random network of MiniLM's width (D = 384,
one block) on repeated short texts. What is measured is the peak of RssAnon in /proc/self/status
while training, above what the process held before it read any data; pages of the memory-mapped
store belong to the file and are not counted. The slope is fitted by least squares.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from racing import Line, finish, options

ROWS = (1_000, 10_000, 30_000, 100_000)
WIDTH, N_CLASSES = 384, 2
WORDS = 500
BYTES = 2 * WIDTH * 4


def main() -> None:
    if "--child" in sys.argv:
        child(int(sys.argv[sys.argv.index("--child") + 1]))
        return
    asked = options(__doc__)
    import numpy as np

    counts = [n for n in ROWS if not asked.only or str(n) in asked.only]
    found = {}
    for n in counts:
        command = [sys.executable, __file__, "--child", str(n), "--threads", str(asked.threads)]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found[n] = json.loads(out.splitlines()[-1])
        print(f"  {n} rows: {found[n]['peak'] / 1e6:.0f} MB", file=sys.stderr)
    peaks = [found[n]["peak"] for n in counts]
    slope = float(np.polyfit(counts, peaks, 1)[0]) if len(counts) > 1 else float("nan")
    note = "bytes a row; the peer is the bound 2 · D · 4. Peaks above the start, MB: " + ", ".join(
        f"{n}: {found[n]['peak'] / 1e6:.0f}" for n in counts
    )
    seen = {"peaks": peaks, "rows": [float(n) for n in counts]}
    work = f"anonymous memory of probe, {counts[0]} to {counts[-1]} rows, bytes a row"
    finish(asked, [Line(work, slope, BYTES, slope / BYTES, 1.0, "at most", note, seen)])


def child(n_rows: int) -> None:
    """Train a probe on `n_rows` rows and print the peak as JSON."""
    sys.argv = [sys.argv[0], "--threads", sys.argv[sys.argv.index("--threads") + 1]]
    options(__doc__)
    import torch

    import graft

    with tempfile.TemporaryDirectory() as folder:
        backbone = graft.open_backbone(str(random_encoder(Path(folder) / "model")))
        train_once(Path(folder) / "warm", backbone, 200)  # what is imported late, and thread pools
        before = anonymous_bytes()
        peak = Peak()
        with peak:
            train_once(Path(folder) / "run", backbone, n_rows)
    print(json.dumps({"peak": peak.bytes - before, "before": before, "torch": torch.__version__}))


def train_once(folder: Path, backbone: Any, n_rows: int) -> None:
    """Read rows from a file, and solve the head on them with an empty store."""
    import numpy as np

    from graft.data.readers import read
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.methods.heads import probe
    from graft.tasks.classify import Classify

    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "rows.csv").open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for i in range(n_rows):
            words = " ".join(f"w{w}" for w in rng.integers(0, WORDS, 4 + i % 5))
            file.write(f"{words},{'ab'[int(rng.integers(N_CLASSES))]}\n")
    table = read(folder / "rows.csv", input="text", label="label")
    task = Classify(("a", "b"))
    model, _ = task.build(backbone)
    stream = task.streams(table, backbone)["train"]
    settings = Settings(cache=folder / "cache", checkpoints=folder / "points")
    run(probe(), model, task, {"train": {"train": stream}}, settings=settings)


def random_encoder(folder: Path) -> Path:
    """Save a BERT of MiniLM's width with one block and a vocabulary of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(WORDS))]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=6,
        intermediate_size=WIDTH,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def anonymous_bytes() -> int:
    """Return RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("RssAnon"))


class Peak:
    """Watch RssAnon from a thread of its own, a hundred times a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.bytes = max(self.bytes, anonymous_bytes())


if __name__ == "__main__":
    main()
