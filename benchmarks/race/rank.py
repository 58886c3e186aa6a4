"""Race `rank` of six image networks against one forward pass of each.

    python benchmarks/race/rank.py --rows 500 --repeats 3 --threads 1 --clock cpu --json rank.json

The peer decodes the same training pictures, transforms them as each network wants, and runs it in
eval mode without gradients, in float32, one network after the other; nothing is scored, and opening
the networks is not counted. It runs in batches of 16, as graft's groups are: in batches of 64 it
took 1.4 to 1.7 times as long.

graft's side is the whole verb: it reads and checks the table, opens the networks, proves its cut,
passes the rows once, writes the stores, and computes the cross-validated heads, neighbours, LogME,
H-score, LEEP and what needs no pretraining, random weights among it. The cache is empty in every
repeat.

The networks are the five of ImageNet in the shared weights, and MobileNetV3-Small at half width
with random weights.
"""

from __future__ import annotations

import dataclasses
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from racing import Line, chosen, finish, interleave, now, options, race, shared

DATA = ("signdigits", "hymenoptera")
FOLDERS = (
    "mobilenetv2_100",
    "mobilenet_v1_0.25_224",
    "mobilenet_v1_0.75_192",
    "mobilenet_v2_gluon_backbone",
)
BATCH = 16
MARK = 1.3


def main() -> None:
    asked = options(__doc__)
    lines = []
    for name in chosen(asked, DATA):
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(shared() / "data" / name / "images.zip") as archive:
                archive.extractall(folder)
            write_rows(name, Path(folder), asked.rows)
            lines += rank_lines(name, Path(folder), asked)
    finish(asked, lines)


def write_rows(name: str, folder: Path, n_rows: int) -> None:
    """Write the table of some training rows, evenly spread, all of them marked as such."""
    import csv

    with (shared() / "data" / name / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    n = min(n_rows or len(rows), len(rows))
    kept = [rows[i * len(rows) // n] for i in range(n)]
    with (folder / "some.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "label"), *((r["path"], r["label"]) for r in kept)])


def candidates() -> list[Any]:
    """Return the six candidates: folders where one will do, else networks."""
    import torch

    from graft.backbones import open_backbone

    torch.manual_seed(0)
    found: list[Any] = [str(shared() / "weights" / name) for name in FOLDERS]
    return [*found, squeezenet(), open_backbone("timm:mobilenetv3_small_050", random=True)]


def squeezenet() -> Any:
    """Return torchvision's SqueezeNet with the weights that lie beside no configuration."""
    from safetensors.torch import load_file

    from graft.backbones import open_backbone

    backbone = open_backbone("torchvision:squeezenet1_1", random=True)
    tensors = load_file(shared() / "weights" / "squeezenet1_1_torchvision" / "model.safetensors")
    backbone.net.load_state_dict({name: tensors[name] for name in backbone.net.state_dict()})
    backbone.origin = dataclasses.replace(backbone.origin, name="squeezenet1_1")
    return backbone


def rank_lines(name: str, folder: Path, asked: Any) -> list[Line]:
    """Return the line of one data set."""
    import numpy as np
    import torch

    import graft
    from graft.backbones import open_backbone
    from graft.data.readers import read
    from graft.tasks.labelled import table_stream

    table = read(folder / "some.csv", input="path", label="label")
    named = candidates()
    opened = [open_backbone(c) if isinstance(c, str) else c for c in named]
    held: dict[str, Any] = {}

    def graft_side() -> float:
        with tempfile.TemporaryDirectory() as cache:
            began = now()
            held["ranking"] = graft.rank(
                folder / "some.csv", named, validation=0, test=0, cache=cache, workers=0
            )
            return now() - began

    def passes() -> float:
        began = now()
        for backbone in opened:
            stream = table_stream(table, backbone.eval(), {})["train"]
            with torch.no_grad():
                for start in range(0, len(stream), BATCH):
                    rows = np.arange(start, min(start + BATCH, len(stream)))
                    backbone(stream.batch(rows).inputs)
        return now() - began

    seen = interleave({"graft": graft_side, "one pass of each": passes}, asked.repeats)
    ranking = held["ranking"]
    assert len(ranking.models) == len(named), ranking.not_ranked
    print(f"{name}: " + ", ".join(f"{m.model} {m.probe.value:.3f}" for m in ranking.models))
    work = f"rank of {len(named)} networks, {name}, {ranking.n_rows} rows"
    return [race(work, seen, "graft", "one pass of each", MARK, of_graft=True)]


if __name__ == "__main__":
    main()
