"""Training on pictures that vary: which views, what is stored, and the laws that still hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from graft.backbones.image_processor import ImageProcessor
from graft.backbones.own import backbone
from graft.data.augment import Augment
from graft.data.images import decode
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.engine.views import ENDLESS, n_numbers, numbers, plain
from graft.errors import DataError
from graft.methods.body import full, last, unfreeze
from graft.methods.heads import probe
from graft.methods.plan import Convex, Gradient, Phase, Plan, Rule
from graft.methods.select import everything, head
from graft.tasks.augmented import AugmentedStream
from graft.tasks.classify import Classify
from graft.tasks.streams import TableStream
from tests.engine.streams import ArrayStream, same_bytes
from tests.faults.killer import forked

TASK = Classify(("a", "b"))
PICTURES = ImageProcessor((8, 8), 8, (0.5,) * 3, (0.5,) * 3)
N, N_HELD_OUT = 18, 6
OPTIONS = {"epochs": 3, "batch_size": 8, "lr": 1e-2, "head_lr": 1e-2}


class Net(nn.Module):
    """Two blocks of convolution, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(n, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2)
                )
                for n in (3, 6)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


def model():
    torch.manual_seed(0)
    return TASK.build(backbone(Net(), blocks="layers.*", width=6, processor=PICTURES))[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    paths = []
    for i in range(N + N_HELD_OUT):
        pixels = random.integers(0, 128, (10, 14, 3)) + 60 * np.array([i % 2, 0, 1 - i % 2])
        paths.append(str(folder / f"{i}.png"))
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths


def splits(files, augment: Augment | None):
    labels = np.arange(len(files)) % 2
    parts = {}
    for name, chosen in (("train", slice(0, N)), ("validation", slice(N, None))):
        targets = {"label": labels[chosen]}
        stream = TableStream(files[chosen], PICTURES, targets=targets, key=name, load=decode)
        parts[name] = {"train": stream}
    if augment is not None:
        parts["train"] = {"train": AugmentedStream(parts["train"]["train"], augment)}
    return parts


ENDLESSLY = Augment(("crop", "flip", "colour"))
TWICE = Augment(("crop", "flip", "colour"), views=2)


def train(files, plan, augment, net=None, *, resume=False, **settings):
    net = net or model()
    settings = Settings(**{"workers": 1, **settings})
    records = run(plan, net, TASK, splits(files, augment), settings=settings, resume=resume)
    return net.state_dict(), records


LAST = last(2, n=1, **{**OPTIONS, "epochs": 4})


@pytest.mark.parametrize(
    ("plan", "augment"),
    [
        (LAST, ENDLESSLY),
        (LAST, TWICE),
        pytest.param(probe(), ENDLESSLY, marks=pytest.mark.slow),
        pytest.param(probe(), TWICE, marks=pytest.mark.slow),
    ],
)
def test_cached_equals_uncached_whatever_the_threads(files, plan, augment, tmp_path):
    cached, records = train(files, plan, augment, cache=tmp_path, workers=2)
    again, _ = train(files, plan, augment, cache=tmp_path, workers=0)
    uncached, _ = train(files, plan, augment, workers=0)
    assert not same_bytes(cached, uncached) and not same_bytes(cached, again)
    is_stored = augment.views is not None or plan == probe()
    assert records[0].cache.used == is_stored
    n_train = N * (3 if augment.views else 1) if is_stored else 0
    assert records[0].cache.n_computed == n_train + N_HELD_OUT
    assert is_stored or records[0].cache.reason == ENDLESS


@pytest.mark.parametrize(
    ("augment", "n_workers"),
    [
        (ENDLESSLY, 2),
        pytest.param(ENDLESSLY, 0, marks=pytest.mark.slow),
        pytest.param(TWICE, 0, marks=pytest.mark.slow),
        pytest.param(TWICE, 2, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed(files, augment, n_workers, tmp_path):
    plan = unfreeze(2, **{**OPTIONS, "epochs": 2, "ema": 0.9})
    whole, _ = train(files, plan, augment)
    kept = {"checkpoints": tmp_path, "checkpoint_every": 1, "cache": tmp_path / "stores"}
    for nth in (3, 7):
        assert forked(
            lambda: train(files, plan, augment, resume=True, workers=n_workers, **kept),
            f"mid_epoch:{nth}",
        )
    resumed, _ = train(files, plan, augment, resume=True, workers=n_workers, **kept)
    assert not same_bytes(whole, resumed)


def test_frozen_tensors_and_statistics_stay(files):
    before = model().state_dict()
    after, _ = train(files, last(2, n=1, **OPTIONS), ENDLESSLY)
    same = {k for k in before if torch.equal(before[k], after[k])}
    assert same == {k for k in before if ".layers.0." in k}


def test_views_that_are_read_less_than_stored_are_not_stored(files, tmp_path):
    _, [record] = train(files, last(2, n=1, **OPTIONS), TWICE, cache=tmp_path)
    assert not record.cache.used
    assert record.cache.reason == "to store 3 views of each row does not pay: 3 are read"


class Watching(AugmentedStream):
    """Keep which numbers were asked for."""

    def batch(self, rows, **options):
        seen = self.__dict__.setdefault("seen", [])
        seen.append(np.asarray(rows))
        return super().batch(rows, **options)


@pytest.mark.parametrize(
    ("augment", "views"), [(ENDLESSLY, [1, 2, 3]), (TWICE, [1, 2, 1]), (None, [0, 0, 0])]
)
def test_each_epoch_sees_its_view_of_every_row(files, augment, views):
    parts = splits(files, None)
    stream = Watching(parts["train"]["train"], augment or ENDLESSLY)
    if augment is None:
        stream.numbers = lambda rows, phase, epoch: rows
    run(full(2, **OPTIONS), model(), TASK, {"train": {"train": stream}}, settings=Settings())
    asked = np.concatenate(stream.seen).reshape(3, N)
    assert [set(epoch // N) for epoch in asked] == [{v} for v in views]
    assert all(sorted(epoch % N) == list(range(N)) for epoch in asked)


def test_views_change_what_is_learned_and_validation_stays_plain(files):
    still = Gradient(epochs=2, batch_size=8)
    plan = Plan((Phase("still", (Rule(head(), 1e-30), Rule(everything(), None)), still),))
    losses = []
    for augment in (None, ENDLESSLY):
        _, [record] = train(files, plan, augment)
        losses.append([(e.train_loss, e.validation_loss) for e in record.epochs])
    plainly, varied = losses
    assert [v for _, v in plainly] == pytest.approx([v for _, v in varied])
    assert all(a != b for (a, _), (b, _) in zip(plainly, varied, strict=True))
    assert varied[0][0] != varied[1][0] and plainly[0][0] == pytest.approx(plainly[1][0])


def test_convex_phase_sees_plain_pictures_or_all_stated_views(files):
    plan = Plan((Phase("probe", (Rule(head(), 1.0), Rule(everything(), None)), Convex(0.1)),))
    plainly, endless, twice = (
        train(files, plan, a)[0]["head.out.weight"] for a in (None, ENDLESSLY, TWICE)
    )
    assert torch.equal(plainly, endless)
    assert not torch.equal(plainly, twice)
    net = model().eval()
    stream = splits(files, TWICE)["train"]["train"]
    batch = stream.batch(np.arange(3 * N))
    with torch.no_grad():
        features = net.backbone(batch.inputs).pooled.double()
    logits = features @ twice.double().T
    logits += train(files, plan, TWICE)[0]["head.out.bias"].double()
    weight = twice.double().requires_grad_()
    loss = nn.functional.cross_entropy(
        features @ weight.T + (logits - features @ twice.double().T)[0], batch.targets["label"]
    )
    (loss + 0.05 * weight.pow(2).sum()).backward()
    assert weight.grad.abs().max() < 1e-5, "the solution is not stationary on all views"


def test_views_of_one_row_share_a_fold(files, monkeypatch):
    from graft.engine import solve

    problems = []
    kept = solve._folds
    monkeypatch.setattr(
        solve, "_folds", lambda problem, *rest: problems.append(problem) or kept(problem, *rest)
    )
    train(files, probe(), TWICE)
    [problem] = problems
    assert problem.groups.tolist() == list(range(N)) * 3
    assert problem.targets.tolist() == (np.arange(N) % 2).tolist() * 3


def test_a_broken_picture_ends_the_run_with_its_name(files, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    paths = [*files[:7], str(broken), *files[8:]]
    for augment in (None, ENDLESSLY):
        with pytest.raises(DataError, match=r"broken\.png"):
            train(paths, full(2, **OPTIONS), augment, workers=2)


def test_a_stream_without_views_is_plain():
    stream = ArrayStream({"x": torch.arange(4.0)}, {})
    rows = np.array([2, 0])
    assert plain(stream) is stream and n_numbers(stream) == 4
    assert numbers(stream, rows, 3, 5) is rows
