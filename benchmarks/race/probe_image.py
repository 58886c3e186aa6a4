"""Race `probe` on MobileNetV2 against the usual tutorial loop with a frozen body, and in accuracy.

    python benchmarks/race/probe_image.py --repeats 5 --json probe_image.json

The peer is the loop of PyTorch's transfer-learning tutorial on the same timm network: a Dataset
that opens each file, a DataLoader with 2 workers, SGD with momentum on a new last layer for 10
epochs, the body's parameters frozen. Its validation pass is left out. Decoding counts on both
sides; files lie unpacked on the disk.

    defaults    as in the tutorial: batches of 4, random crop and flip, body in training mode
    best flags  batches of 32, no augmentation, body in eval mode without gradients, workers kept

`--precision bf16` is graft's own choice where a measurement says that it gains; the peer is fp32.

Accuracy is that of graft's probe on the test rows, and over folds of all rows, beside
scikit-learn's LogisticRegressionCV on timm's features; the ratio is the lower end of the paired
bootstrap's 95 % interval, in points.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

from racing import (
    Line,
    chosen,
    finish,
    interleave,
    now,
    options,
    paired_interval,
    precision,
    race,
    shared,
)

DATA = ("hymenoptera", "signdigits")
EPOCHS = 10
N_WORKERS = 2
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
N_REPEATS = 5


def main() -> None:
    asked = options(
        __doc__,
        peer_epochs=(None, "epochs of the peer to measure; all unless given"),
        accuracy=(1, "0 leaves out the comparison with scikit-learn"),
    )
    lines = []
    for name in chosen(asked, DATA):
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(shared() / "data" / name / "images.zip") as archive:
                archive.extractall(folder)
            labels = (shared() / "data" / name / "labels.csv").read_bytes()
            (Path(folder) / "labels.csv").write_bytes(labels)
            lines += image_lines(name, Path(folder), asked)
    finish(asked, lines)


def image_lines(name: str, folder: Path, asked: Any) -> list[Line]:
    """Return the lines of one data set."""
    import numpy as np
    import torch
    from crossed import crossed_line
    from sklearn.linear_model import LogisticRegressionCV

    from graft.backbones import open_backbone
    from graft.data.readers import read
    from graft.engine.predict import feature_rows, predict_rows
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.methods.heads import probe
    from graft.tasks.classify import Classify

    table = read(folder / "labels.csv", input="path", label="label", split="split")
    is_test = np.asarray(table.column("split")) == "test"
    train, test = table.take(np.flatnonzero(~is_test)), table.take(np.flatnonzero(is_test))
    if asked.rows and asked.rows < len(train):
        train = train.take(np.linspace(0, len(train) - 1, asked.rows).astype(np.int64))
    classes = tuple(sorted(set(train.labels() or ())))
    numbers = [classes.index(label) for label in train.labels() or ()]
    task = Classify(classes)
    held: dict[str, Any] = {}

    def graft_side() -> float:
        backbone = open_backbone(str(weights()))
        torch.manual_seed(0)
        model, _ = task.build(backbone)
        stream = task.streams(train, backbone)["train"]
        with tempfile.TemporaryDirectory() as place:
            settings = Settings(
                precision=precision(),
                cache=Path(place) / "cache",
                checkpoints=Path(place) / "points",
            )
            began = now()
            run(probe(), model, task, {"train": {"train": stream}}, settings=settings)
            taken = now() - began
        held["model"] = model
        return taken

    def peer(*, is_best: bool) -> float:
        paths = [Path(p) for p in train.inputs()]
        return tutorial_seconds(paths, numbers, len(classes), is_best, asked.peer_epochs)

    seen = interleave(
        {
            "graft": graft_side,
            "defaults": lambda: peer(is_best=False),
            "best flags": lambda: peer(is_best=True),
        },
        asked.repeats,
    )
    what, run_epochs = f"{name}, {len(train)} rows", min(EPOCHS, asked.peer_epochs or EPOCHS)
    how = "" if run_epochs == EPOCHS else f"; extrapolated from {run_epochs:g} epochs"
    work = f"image probe, {what}, {EPOCHS} frozen epochs"
    lines = [
        race(f"{work}, defaults", seen, "graft", "defaults", 10.0, note=f"tutorial loop{how}"),
        race(f"{work}, best flags", seen, "graft", "best flags", note=f"see the script{how}"),
    ]
    if not asked.accuracy:
        return lines
    model = held["model"]
    stream = task.streams(test, model.backbone)["train"]
    truth = stream.targets["label"].numpy()
    ours = predict_rows(model, task, stream)["probabilities"].argmax(1) == truth
    of_train, of_test = timm_features(train), timm_features(test)
    fitted = LogisticRegressionCV(Cs=list(PENALTIES), cv=5, max_iter=2000).fit(of_train, numbers)
    theirs = fitted.predict(of_test) == truth
    low, high = paired_interval(ours, theirs)
    both = [task.streams(table, model.backbone)["train"] for table in (train, test)]
    return [
        *lines,
        Line(
            f"accuracy, {what}, {len(truth)} test rows, points",
            float(ours.mean()),
            float(theirs.mean()),
            low,
            note=f"the ratio is the lower end of the interval {low:+.2f} to {high:+.2f} points",
        ),
        crossed_line(
            what,
            np.concatenate([feature_rows(model.backbone, one) for one in both]),
            np.concatenate([of_train, of_test]),
            np.concatenate([numbers, truth]),
            float(np.ravel(fitted.C_)[0]),
            N_REPEATS,
        ),
    ]


def weights() -> Path:
    """Return the folder of MobileNetV2's weights."""
    return shared() / "weights" / "mobilenetv2_100"


def timm_network(n_classes: int) -> tuple[Any, dict[str, Any]]:
    """Open the network with timm; returns it with what its transform needs."""
    import timm
    from timm.data import resolve_model_data_config

    net = timm.create_model(f"local-dir:{weights()}", pretrained=True, num_classes=n_classes)
    return net, resolve_model_data_config(net)


def tutorial_seconds(
    paths: list[Path], labels: list[int], n_classes: int, is_best: bool, epochs: float | None
) -> float:
    """Train a new last layer by the tutorial's loop and return the seconds of `EPOCHS` epochs."""
    import timm
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms

    torch.manual_seed(0)
    net, config = timm_network(n_classes)
    normalise = transforms.Normalize(config["mean"], config["std"])
    size = config["input_size"][-1]
    transform: Any = transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            normalise,
        ]
    )
    if is_best:
        transform = timm.data.create_transform(**config, is_training=False)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    net.get_classifier().requires_grad_(True)
    head = net.get_classifier()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.001, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    criterion = torch.nn.CrossEntropyLoss()
    loader = DataLoader(
        Pictures(paths, labels, transform),
        batch_size=32 if is_best else 4,
        shuffle=True,
        num_workers=N_WORKERS,
        persistent_workers=is_best,
        multiprocessing_context="fork",
    )
    n_epochs = int(min(EPOCHS, epochs or EPOCHS))
    began = now()
    for _ in range(n_epochs):
        net.train(not is_best)
        for images, targets in loader:
            optimizer.zero_grad()
            if is_best:
                with torch.no_grad():
                    features = net.forward_head(net.forward_features(images), pre_logits=True)
                logits = head(features)
            else:
                logits = net(images)
            loss = criterion(logits, targets)
            loss.backward()
            optimizer.step()
            loss.item()
        schedule.step()
    return (now() - began) * EPOCHS / n_epochs


class Pictures:
    """Open and transform one file at a time, as torchvision's ImageFolder does."""

    def __init__(self, paths: list[Path], labels: list[int], transform: Any) -> None:
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), self.labels[index]


def timm_features(table: Any) -> Any:
    """Return timm's pooled features (N, D) of a table's pictures."""
    import numpy as np
    import timm
    import torch
    from PIL import Image

    net, config = timm_network(0)
    net.eval()
    transform: Any = timm.data.create_transform(**config, is_training=False)
    found, paths = [], list(table.inputs())
    with torch.no_grad():
        for start in range(0, len(paths), 32):
            part = [Image.open(p).convert("RGB") for p in paths[start : start + 32]]
            found.append(net(torch.stack([transform(image) for image in part])).numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main()
