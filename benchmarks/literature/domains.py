"""Domain-adversarial training against training on the source alone.

    python benchmarks/literature/domains.py --data mnist_m --seeds 5 --threads 1

Ganin et al. 2016, table 2: MNIST → MNIST-M 52.3 % from the source alone, 76.7 % with DANN, from
60,000 digits. Here 8,000 (the data sets are in `digits_mnist` and `digits_usps`), and the network
is the paper's for MNIST: two 5 × 5 convolutions of 32 and 48 channels, whose 768 outputs are the
features of both the classifier and the domain classifier.

mnist_m   as in the paper, section 5.2.1: each digit is the difference |crop − digit|, channel by
          channel, with a crop of a photograph; these are of `hymenoptera`, those for training and
          for testing of different ones
usps      the digits of another post office, 16 × 16, enlarged to 28 × 28
amazon    reviews of books → of electronics (Ganin et al. 2016, table 1: 0.733 for DANN, 0.747 for
          a plain network, on bags of words): MiniLM, the top two blocks trained on 240 reviews cut
          at 48 tokens, 1,000 unlabelled ones of electronics

Nothing is chosen on labels of the target, and nothing was tuned: what follows was written down
before the first run. The last epoch counts.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ledger import Ledger, open_text, options, reviews, shared, subset

DIGITS_BY = {"epochs": 20, "batch_size": 64, "lr": 1e-3, "head_lr": 1e-3}
REVIEWS_BY = {"n": 2, "epochs": 4, "batch_size": 16}
N_SOURCE, N_UNLABELLED, LENGTH = 240, 1_000, 48
SIDE = 28
N_PROBED = 500
"""Held-out rows of each domain on which a linear probe tells them apart."""


@dataclass(frozen=True)
class Domains:
    """Hold arrays or texts of two domains.

    Args:
        source: what is labelled: values and class numbers.
        target: values without labels.
        tests: by domain, values and class numbers; read once, at the end.
        target_labels: of `target`; no adaptation is shown them.
    """

    source: tuple[Any, np.ndarray]
    target: Any
    tests: Mapping[str, tuple[Any, np.ndarray]]
    target_labels: np.ndarray | None = None


def photographs(part: str) -> list[np.ndarray]:
    """Return photographs (H, W, 3) of one part of hymenoptera."""
    from PIL import Image

    folder = shared("data", "hymenoptera")
    lines = (folder / "labels.csv").read_text(encoding="utf-8").splitlines()[1:]
    names = sorted(line.split(",")[0] for line in lines if line.split(",")[2] == part)
    with zipfile.ZipFile(folder / "images.zip") as archive:
        opened = [Image.open(io.BytesIO(archive.read(name))) for name in names]
        return [np.asarray(image.convert("RGB")) for image in opened]


def blended(digits: np.ndarray, photos: list[np.ndarray], seed: int) -> np.ndarray:
    """Return |crop − digit| (N, 28, 28, 3) for digits (N, 28, 28)."""
    random = np.random.default_rng(seed)
    found = np.empty((*digits.shape, 3), np.uint8)
    for i, digit in enumerate(digits.astype(np.int16)):
        photo = photos[int(random.integers(len(photos)))]
        top, left = (int(random.integers(side - SIDE + 1)) for side in photo.shape[:2])
        crop = photo[top : top + SIDE, left : left + SIDE].astype(np.int16)
        found[i] = np.abs(crop - digit[:, :, None])
    return found


def enlarged(digits: np.ndarray) -> np.ndarray:
    """Return digits (N, 16, 16) as (N, 28, 28)."""
    from PIL import Image

    size = (SIDE, SIDE)
    return np.stack([np.asarray(Image.fromarray(d).resize(size, 2)) for d in digits])


def scaled(images: np.ndarray) -> np.ndarray:
    """Return (N, 3, 28, 28) in −1 to 1 of grey or coloured bytes."""
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    return images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1


def digits_of(name: str) -> Domains:
    """Return MNIST and another domain of digits."""
    mnist = np.load(shared("data", "digits_mnist", "data.npz"))
    labels = {part: mnist[f"{part}_labels"].astype(np.int64) for part in ("train", "test")}
    images = {part: mnist[f"{part}_images"] for part in ("train", "test")}
    if name == "usps":
        usps = np.load(shared("data", "digits_usps", "data.npz"))
        target, test = (enlarged(usps[f"{part}_images"]) for part in ("train", "test"))
        truth, known = (usps[f"{part}_labels"].astype(np.int64) for part in ("test", "train"))
    else:
        target = blended(images["train"], photographs("train"), seed=0)
        test = blended(images["test"], photographs("test"), seed=1)
        truth, known = labels["test"], labels["train"]
    return Domains(
        (scaled(images["train"]), labels["train"]),
        scaled(target),
        {
            "source": (scaled(images["test"]), labels["test"]),
            "target": (scaled(test), truth),
        },
        known,
    )


def network() -> Any:
    """Return the paper's network for MNIST, up to its features (N, 768)."""
    from torch import nn

    import graft

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 32, 5), nn.ReLU(), nn.MaxPool2d(2))
            block = nn.Sequential(nn.Conv2d(32, 48, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
            self.blocks = nn.Sequential(block)

        def forward(self, x: Any) -> Any:
            return self.blocks(self.stem(x))

    return graft.backbone(Net(), blocks="blocks.*", width=768)


def trained(
    adapt: str | None,
    seed: int,
    task: Any,
    backbone: Any,
    plan: Any,
    source: Any,
    target: Any,
    tests: Mapping[str, Any],
) -> dict[str, float]:
    """Train on streams, and return what is known of both domains at the end."""
    import torch

    from graft.api.adapting import told_apart
    from graft.engine.predict import feature_rows, predict_rows
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.metrics.classification import log_loss
    from graft.metrics.label_free import information
    from graft.tasks.adapted import SOURCE, TARGET, Adapted

    streams = {SOURCE: source}
    if adapt is not None:
        task, streams = Adapted(task, adapt), {**streams, TARGET: target}
    torch.manual_seed(seed)
    model, state = task.build(backbone)
    run(plan, model, task, {"train": streams}, state=state, settings=Settings(seed=seed))
    found, answers = {}, {}
    for name, stream in tests.items():
        answers[name] = predict_rows(model, task, stream)["probabilities"]
        truth = stream.targets["label"].numpy()
        found[name] = float((answers[name].argmax(1) == truth).mean())
    features = [feature_rows(model.backbone, tests[n])[:N_PROBED] for n in ("source", "target")]
    labels = tests["source"].targets["label"].numpy()
    criterion = log_loss(labels, answers["source"]) - information(answers["target"])
    told = told_apart(*features, 0)
    return {**found, "told": round(told or 0.0, 4), "criterion": round(criterion, 4)}


def of_digits(name: str) -> Callable[[str | None, int], dict[str, float]]:
    """Return what trains on digits by an adaptation and a seed."""
    import torch

    from graft.methods.body import full
    from graft.tasks.arrays import array_streams
    from graft.tasks.classify import Classify

    found = digits_of(name)

    def work(adapt: str | None, seed: int) -> dict[str, float]:
        torch.manual_seed(seed)
        own = network()
        nobody = np.full(len(found.target), -1)
        return trained(
            adapt,
            seed,
            Classify(tuple("0123456789"), head="mlp:100"),
            own,
            full(**DIGITS_BY),
            array_streams(*found.source, own)["train"],
            array_streams(found.target, nobody, own)["train"],
            {n: array_streams(*test, own)["train"] for n, test in found.tests.items()},
        )

    return work


def of_reviews() -> Callable[[str | None, int], dict[str, float]]:
    """Return what trains on reviews by an adaptation and a seed."""
    import dataclasses

    from graft.data.readers import read
    from graft.methods.body import last
    from graft.tasks.classify import Classify

    books = reviews("train", "books")
    more = read(shared("data", "amazon4_sentiment", "unlabeled.jsonl.gz"))
    rows = np.flatnonzero(np.asarray(more.column("domain")) == "electronics")[:N_UNLABELLED]
    unlabelled = more.take(rows)
    unlabelled = dataclasses.replace(
        unlabelled, roles=dataclasses.replace(unlabelled.roles, label=None)
    )
    tests = {"source": reviews("test", "books"), "target": reviews("test", "electronics")}

    def work(adapt: str | None, seed: int) -> dict[str, float]:
        own = open_text(LENGTH)
        task = Classify(tuple(sorted(set(books.labels()))))
        return trained(
            adapt,
            seed,
            task,
            own,
            last(len(own.chains[0].parts) - 2, **REVIEWS_BY),
            task.streams(subset(books, N_SOURCE, seed), own)["train"],
            task.streams(unlabelled, own)["train"],
            {name: task.streams(table, own)["train"] for name, table in tests.items()},
        )

    return work


def main() -> None:
    asked = options(__doc__, seeds=5, data=["mnist_m", "usps", "amazon"], adapt="dann")
    work = of_reviews() if asked.data == "amazon" else of_digits(asked.data)
    ledger = Ledger(f"domains_{asked.data}")
    for seed in range(asked.seeds):
        for name in ("source alone", asked.adapt):
            adapt = None if name == "source alone" else name
            ledger.cell(lambda a=adapt, s=seed: work(a, s), method=name, seed=seed)
    for what in ("target", "source"):
        difference = ledger.paired(asked.adapt, "source alone", what)
        print(f"{asked.adapt} against the source alone, on the {what}: {difference}")


if __name__ == "__main__":
    main()
