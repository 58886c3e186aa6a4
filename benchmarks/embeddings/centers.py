"""Softmax and center loss on digits in the plane: the picture of Wen et al. 2016, figure 3.

    python benchmarks/embeddings/centers.py --seeds 5 --threads 1 --picture docs/assets/centers.svg

A small convolutional network ends in two numbers and is trained from scratch on the 8,000 digits
of digits_mnist, 30 epochs, by graft's objectives in a loop of its own; 2,000 others are the test.
Intra is the mean distance of a test digit to the mean of its class, inter the mean distance between
such means. The weight of the center loss was chosen on a seed (100) that is not in the table.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "literature"))
import ledger
from ledger import Ledger, options, paired, shared

ledger.RESULTS = Path(__file__).parent / "results"

EPOCHS, BATCH, RATE = 30, 128, 2e-3
N_DRAWN, SIDE = 700, 360
COLOURS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
)


def digits() -> dict[str, Any]:
    """Return images (N, 1, 28, 28) from 0 to 1 and their classes (N,), by part."""
    import torch

    held = np.load(shared("data", "digits_mnist", "data.npz"))
    found = {}
    for part in ("train", "test"):
        images = torch.from_numpy(held[f"{part}_images"]).float()[:, None] / 255
        found[part] = images, torch.from_numpy(held[f"{part}_labels"]).long()
    return found


def trained(seed: int, center_weight: float) -> tuple[dict[str, float], np.ndarray]:
    """Train once; returns figures of the test, and its points (N, 2)."""
    import torch
    from torch import nn

    from graft.objectives.center import center, updated_centers
    from graft.objectives.margin_softmax import softmax_loss

    torch.manual_seed(seed)
    data = digits()
    images, labels = data["train"]
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64)):
        for width in (before, after):
            layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
            layers.append(nn.PReLU(after))
        layers.append(nn.MaxPool2d(2))
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 9, 2))
    classes = nn.Parameter(torch.randn(10, 2))
    bias = nn.Parameter(torch.zeros(10))
    centers = torch.zeros(10, 2)
    optimizer = torch.optim.AdamW([*net.parameters(), classes, bias], lr=RATE)
    n_steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, n_steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            points, own = net(shifted(images[rows])), labels[rows]
            losses = softmax_loss(points, own, classes, bias=bias)[0]
            losses = losses + center_weight * center(points, own, centers)[0]
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            schedule.step()
            centers = updated_centers(points.detach(), own, centers)
    with torch.no_grad():
        net.eval()
        images, labels = data["test"]
        points = torch.cat([net(part) for part in images.split(500)])
        right = (points @ classes.T + bias).argmax(1) == labels
    intra, inter = spread(points.numpy(), labels.numpy())
    figures = {"accuracy": float(right.float().mean()), "intra": intra, "inter": inter}
    return {**figures, "ratio": intra / inter}, points.numpy()


def shifted(images: Any) -> Any:
    """Return a batch of images moved by up to two pixels each way, one draw for all of them."""
    import torch

    down, right = torch.randint(-2, 3, (2,)).tolist()
    return images.roll((down, right), (2, 3))


def spread(points: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the mean distance to the mean of the class, and that between these means."""
    means = np.stack([points[labels == c].mean(0) for c in range(10)])
    intra = np.linalg.norm(points - means[labels], axis=1).mean()
    gaps = np.linalg.norm(means[:, None] - means[None], axis=2)
    return float(intra), float(gaps[np.triu_indices(10, 1)].mean())


def main() -> None:
    asked = options(__doc__, seeds=5, first=0, weight=0.3, picture="")
    book = Ledger("centers")
    methods = {"softmax": 0.0, f"softmax + {asked.weight:g} center": asked.weight}
    drawn: dict[str, np.ndarray] = {}
    for seed in range(asked.first, asked.first + asked.seeds):
        for name, weight in methods.items():
            if asked.picture and seed == asked.first:
                drawn[name] = trained(seed, weight)[1]
            book.cell(lambda s=seed, w=weight: trained(s, w)[0], method=name, seed=seed)
    print(table(book.rows))
    if asked.picture:
        Path(asked.picture).write_text(
            picture(drawn, digits()["test"][1].numpy()), encoding="utf-8"
        )


def table(rows: list[dict[str, Any]]) -> str:
    """Return means over seeds, and by how much the ratio falls."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = ["| objective | accuracy | intra | inter | intra / inter |", "|---|---|---|---|---|"]
    own = {name: [row for row in rows if row["method"] == name] for name in methods}
    for name, found in own.items():
        mean = {k: statistics.mean(r[k] for r in found) for k in found[0] if k != "method"}
        lines.append(
            f"| {name} | {mean['accuracy']:.4f} | {mean['intra']:.2f} | {mean['inter']:.2f} "
            f"| {mean['ratio']:.4f} |"
        )
    plain, joined = (own[name] for name in methods)
    falls = [a["ratio"] / b["ratio"] for a, b in zip(plain, joined, strict=True)]
    points = paired([b["accuracy"] - a["accuracy"] for a, b in zip(plain, joined, strict=True)])
    low, high = min(falls), max(falls)
    return "\n".join(lines) + (
        f"\n\nThe ratio falls {statistics.mean(falls):.1f} times ({low:.1f} to {high:.1f}); "
        f"points of accuracy: {points}."
    )


def picture(drawn: dict[str, np.ndarray], labels: np.ndarray) -> str:
    """Return an SVG with a panel of points for each objective."""
    panels = []
    for i, (name, points) in enumerate(drawn.items()):
        some = points[:N_DRAWN]
        reach = np.abs(some).max() * 1.05
        x = (some[:, 0] / reach + 1) * SIDE / 2 + i * (SIDE + 20) + 10
        y = (1 - some[:, 1] / reach) * SIDE / 2 + 30
        left = i * (SIDE + 20) + 10
        panels.append(f'<text x="{left}" y="20" font-size="15">{name}</text>')
        panels.append(f'<rect x="{left}" y="30" width="{SIDE}" height="{SIDE}" fill="#fff"/>')
        panels += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2" fill="{COLOURS[c]}"/>'
            for a, b, c in zip(x, y, labels[:N_DRAWN], strict=True)
        ]
    for c in range(10):
        left = 10 + c * 50
        panels.append(f'<circle cx="{left + 5}" cy="{SIDE + 52}" r="5" fill="{COLOURS[c]}"/>')
        panels.append(f'<text x="{left + 15}" y="{SIDE + 57}" font-size="14">{c}</text>')
    width, height = len(drawn) * (SIDE + 20), SIDE + 70
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" role="img" aria-label="Digits in the plane, by objective">'
        f'<rect width="{width}" height="{height}" fill="#f6f6f6"/>' + "".join(panels) + "</svg>\n"
    )


if __name__ == "__main__":
    main()
