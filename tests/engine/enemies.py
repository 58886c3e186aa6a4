"""Enemies of a naive engine: toy tasks of at most 40 lines each, every one of another shape.

A `Scene` is what `graft.engine.run.run` is given. Each function builds the same scene every time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graft.backbones.backbone import Backbone
from graft.backbones.own import backbone
from graft.batch import Batch
from graft.data.tuples import Tuples
from graft.features import Features
from graft.methods.plan import Rule
from graft.model import Model
from graft.tasks.paired import PairedStream
from graft.tasks.task import Loss, Progress
from tests.engine.specimens import model_of
from tests.engine.streams import ArrayStream, SpecimenStream
from tests.zoo import VOCABULARY, ZOO


@dataclass
class Scene:
    """Everything that a run is given, but for its plan."""

    model: nn.Module
    task: Any
    streams: Mapping[str, Any]
    state: nn.Module | None = None
    first_rules: tuple[Rule, ...] = ()
    """Rules that stand before all others."""


def from_zoo(name: str, read: Any = None, width: int | None = None) -> Backbone:
    """Return a specimen as a backbone, perhaps read in another way."""
    found = model_of(ZOO[name]).backbone
    found.read, found.width = read or found.read, width or found.width
    return found


def dense(dropout: float = 0.1, width: int = 8, n_blocks: int = 3) -> Backbone:
    """Return a small chain of linear blocks with dropout."""
    net = nn.Sequential(
        *(
            nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout))
            for _ in range(n_blocks)
        )
    )
    return backbone(Positional(net), blocks="layers.*", width=width)


class Positional(nn.Module):
    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def noise(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


# --- CTC: ragged outputs, and a loss that takes their lengths -----------------------------------


def read_frames(net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
    frames = net(**inputs).last_hidden_state
    lengths = net._get_feat_extract_output_lengths(inputs["attention_mask"].sum(1))
    return Features(tokens=frames, mask=torch.arange(frames.shape[1]) < lengths[:, None])


class Letters(nn.Module):
    """Score a vocabulary at every position."""

    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, n)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        return self.out(features.tokens), features.mask


@dataclass(frozen=True)
class Transcribe:
    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        logits, mask = model(batch.inputs)
        return {"logits": logits, "lengths": mask.sum(1)}

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        logits, lengths = encoded["train"]["logits"], encoded["train"]["lengths"]
        letters = batches["train"].targets["letters"]
        scores = logits.log_softmax(-1).transpose(0, 1)
        n_letters = torch.full((len(letters),), letters.shape[1])
        losses = F.ctc_loss(scores, letters, lengths, n_letters, reduction="none")
        return Loss(losses.sum(), torch.tensor(float(len(losses))))


def ctc() -> Scene:
    body = from_zoo("wav2vec2", read_frames, 32)
    stream = SpecimenStream(ZOO["wav2vec2"], 12)
    stream.targets = {
        "letters": torch.stack([torch.arange(12) % 5 + 1, torch.arange(12) % 3 + 1], 1)
    }
    return Scene(Model(body, Letters(32, 6)), Transcribe(), {"train": stream})


# --- encoder and decoder: two chains, teacher forcing, a loss that reads inputs -----------------


def read_words(net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
    words = net(**inputs).last_hidden_state
    return Features(tokens=words, mask=inputs["decoder_attention_mask"].bool())


@dataclass(frozen=True)
class Translate:
    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        return model(batch.inputs)[0]

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        inputs = batches["train"].inputs
        following = inputs["decoder_input_ids"][:, 1:]
        counts = inputs["decoder_attention_mask"][:, 1:]
        losses = F.cross_entropy(
            encoded["train"][:, :-1].transpose(1, 2), following, reduction="none"
        )
        return Loss((losses * counts).sum(), counts.sum().float())


def translation(name: str) -> Scene:
    body = from_zoo(name, read_words, 32)
    return Scene(
        Model(body, Letters(32, VOCABULARY)), Translate(), {"train": SpecimenStream(ZOO[name], 12)}
    )


# --- a detector: feature maps of two scales, classes and boxes ----------------------------------


class TwoScales(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = ((3, 6), (6, 8), (8, 8))
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
            for a, b in sizes
        )

    def forward(self, x: Tensor) -> Features:
        first = self.stages[0](x)
        second = self.stages[1](first)
        return Features(maps=(second, self.stages[2](second)))


class Boxes(nn.Module):
    """Give each cell of each map 3 class scores and 4 numbers of a box."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Conv2d(8, 7, 1)

    def forward(self, features: Features) -> list[Tensor]:
        return [self.out(m) for m in features.maps]


@dataclass(frozen=True)
class Detect:
    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        return model(batch.inputs)

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        targets = batches["train"].targets
        total = torch.zeros(())
        for scores in encoded["train"]:
            classes = targets["label"][:, None, None].expand(-1, *scores.shape[2:])
            boxes = targets["box"][:, :, None, None].expand(-1, -1, *scores.shape[2:])
            total = (
                total + F.cross_entropy(scores[:, :3], classes, reduction="none").mean((1, 2)).sum()
            )
            total = total + (scores[:, 3:] - boxes).abs().mean((1, 2, 3)).sum()
        return Loss(total, torch.tensor(float(len(targets["label"]))))


def detector() -> Scene:
    torch.manual_seed(0)
    body = backbone(TwoScales(), blocks="stages.*", width=8)
    targets = {"label": torch.arange(12) % 3, "box": noise(12, 4, seed=1)}
    return Scene(
        Model(body, Boxes()), Detect(), {"train": ArrayStream({"x": noise(12, 3, 16, 16)}, targets)}
    )


# --- a momentum encoder and a queue, moved in after_step; the loss reads raw inputs -------------


class Momentum(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.key = copy.deepcopy(model)
        self.register_buffer("queue", F.normalize(noise(10, 4, seed=2)))
        self.fresh: Tensor | None = None


@dataclass(frozen=True)
class MoCo:
    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        return F.normalize(model(batch.inputs), dim=-1)

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        with torch.no_grad():
            keys = F.normalize(state.key({"x": batches["train"].inputs["x"].flip(-1)}), dim=-1)
        state.fresh = keys
        queries = encoded["train"]
        positive = (queries * keys).sum(-1, keepdim=True)
        scores = torch.cat([positive, queries @ state.queue.T], 1) / 0.2
        losses = F.cross_entropy(scores, torch.zeros(len(keys), dtype=torch.long), reduction="none")
        return Loss(losses.sum(), torch.tensor(float(len(keys))))

    @torch.no_grad()
    def after_step(self, model: nn.Module, state: Any, progress: Progress) -> None:
        for key, query in zip(state.key.parameters(), model.parameters(), strict=True):
            key.lerp_(query, 0.1)
        state.queue.copy_(torch.cat([state.fresh, state.queue])[: len(state.queue)])


class Projection(nn.Module):
    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, n)

    def forward(self, features: Features) -> Tensor:
        return self.out(features.pooled)


def momentum() -> Scene:
    from graft.methods.select import named

    torch.manual_seed(0)
    model = Model(dense(), Projection(8, 4))
    streams = {"train": ArrayStream({"x": noise(12, 8)}, {})}
    return Scene(model, MoCo(), streams, Momentum(model), (Rule(named("state.key.*"), None),))


# --- two domains: a cycling second stream, gradient reversal, a head in the state ---------------


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return -ctx.scale * gradient, None


@dataclass(frozen=True)
class Adversarial:
    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        features = model.backbone(batch.inputs)
        return {"features": features.pooled, "logits": model.head(features)}

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        labels = batches["train"].targets["label"]
        losses = F.cross_entropy(encoded["train"]["logits"], labels, reduction="sum")
        both = torch.cat([encoded["train"]["features"], encoded["target"]["features"]])
        domains = state(Reverse.apply(both, (progress.step + 1) / progress.n_steps)).squeeze(-1)
        truth = (torch.arange(len(both)) < len(labels)).float()
        losses = losses + F.binary_cross_entropy_with_logits(domains, truth, reduction="sum")
        return Loss(losses, torch.tensor(float(len(both))))


def domains() -> Scene:
    model = model_of(ZOO["bert"])
    state = nn.Sequential(
        nn.Linear(model.backbone.width, 6), nn.BatchNorm1d(6), nn.Dropout(0.1), nn.Linear(6, 1)
    )
    streams = {
        "train": SpecimenStream(ZOO["bert"], 12),
        "target": SpecimenStream(ZOO["bert"], 7, first=12),
    }
    return Scene(model, Adversarial(), streams, state)


# --- two towers: two backbones in one model, one loss over the whole batch ----------------------


class Towers(nn.Module):
    def __init__(self, text: Backbone, image: Backbone) -> None:
        super().__init__()
        self.text, self.image = text, image
        self.text_head, self.image_head = Projection(text.width, 4), Projection(image.width, 4)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        texts = self.text({k: v for k, v in inputs.items() if k != "x"})
        images = self.image({"x": inputs["x"]})
        return F.normalize(self.text_head(texts), dim=-1), F.normalize(
            self.image_head(images), dim=-1
        )


class Temperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.5))


@dataclass(frozen=True)
class Match:
    is_joint = True
    seen: list = field(default_factory=list, compare=False)

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        encoded = model(batch.inputs)
        self.seen.append([e.detach().clone() for e in encoded])
        return encoded

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        texts, images = encoded["train"]
        scores = texts @ images.T * state.log_scale.exp()
        pairs = torch.arange(len(texts))
        losses = F.cross_entropy(scores, pairs, reduction="sum") + F.cross_entropy(
            scores.T, pairs, reduction="sum"
        )
        return Loss(losses / 2, torch.tensor(float(len(texts))))


class Pairs(SpecimenStream):
    def batch(
        self, rows: np.ndarray, *, length: int | None = None, without: frozenset[str] = frozenset()
    ) -> Batch:
        batch = super().batch(rows, length=length, without=without)
        if "x" in without:
            return batch
        return batch.with_inputs(
            {**batch.inputs, "x": noise(len(self), 3, 32, 32)[torch.from_numpy(rows)]}
        )


def two_towers() -> Scene:
    model = Towers(from_zoo("bert"), from_zoo("plain-cnn"))
    return Scene(model, Match(), {"train": Pairs(ZOO["bert"], 12)}, Temperature())


# --- two streams of pairs: each tower reads its own, and rows of one number belong together -------


class EitherTower(Towers):
    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        name = "image" if "x" in inputs else "text"
        features = getattr(self, name)(inputs)
        return F.normalize(getattr(self, f"{name}_head")(features), dim=-1)


@dataclass(frozen=True)
class MatchStreams(Match):
    is_aligned = True

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        encoded = model(batch.inputs)
        self.seen.append((batch.rows, encoded.detach().clone()))
        return encoded

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        both = {"train": (encoded["text"], encoded["image"])}
        return super().loss(both, batches, state, progress)


def pair_streams() -> Scene:
    texts, images = SpecimenStream(ZOO["bert"], 12), ArrayStream({"x": noise(4, 3, 32, 32)}, {})
    pairs = np.arange(12)
    sides = {
        "image": PairedStream(images, pairs // 3, Tuples(np.stack([pairs // 3, pairs + 4], 1))),
        "text": PairedStream(texts, pairs, Tuples(np.stack([pairs // 3, pairs + 4], 1))),
    }
    model = EitherTower(from_zoo("bert"), from_zoo("plain-cnn"))
    return Scene(model, MatchStreams(), sides, Temperature())


# --- gradient caching: in-batch negatives in micro-batches, the model run twice per example -----


class Twice(nn.Module):
    def __init__(self, body: Backbone) -> None:
        super().__init__()
        self.backbone, self.head = body, Projection(body.width, 4)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        views = [self.head(self.backbone({"x": x})) for x in (inputs["x"], inputs["x"].roll(1, -1))]
        return F.normalize(views[0], dim=-1), F.normalize(views[1], dim=-1)


def gradient_caching(dropout: float = 0.1) -> Scene:
    torch.manual_seed(0)
    streams = {"train": ArrayStream({"x": noise(12, 8)}, {})}
    return Scene(Twice(dense(dropout)), Match(), streams, Temperature())


ENEMIES: dict[str, Callable[[], Scene]] = {
    "ctc": ctc,
    "marian": lambda: translation("marian"),
    "t5": lambda: translation("t5"),
    "detector": detector,
    "momentum": momentum,
    "domains": domains,
    "two-towers": two_towers,
    "pair-streams": pair_streams,
    "gradient-caching": gradient_caching,
}


# --- a network with a tied weight, registered above before below, and a buffer of its own -------


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tie = nn.Linear(8, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.layers[0].weight = self.tie.weight
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        x = x - self.mean
        for layer in self.layers:
            x = layer(x).tanh()
        return self.tie(x)


def tied() -> tuple[Model, ArrayStream]:
    from graft.heads import Linear

    torch.manual_seed(0)
    stream = ArrayStream({"x": noise(12, 8)}, {"label": torch.arange(12) % 3})
    body = backbone(Tied(), blocks="layers.*", neck=("tie",), width=8)
    return Model(body, Linear(8, 3)), stream
