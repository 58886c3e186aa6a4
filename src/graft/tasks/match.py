"""Pictures and their captions in one space: two towers, each near what belongs to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Problem
from graft.backbones.pair import BackbonePair
from graft.batch import Batch
from graft.data.captions import IMAGE_TEXT, sides
from graft.data.sampling import tuple_batches
from graft.data.table import Table
from graft.data.tuples import Tuples
from graft.heads import embedding_head
from graft.metrics.matching import matching_scorer
from graft.model import Towers
from graft.objectives.distances import unit
from graft.objectives.info_nce import info_nce
from graft.records import Prediction
from graft.tasks.aims import Learned
from graft.tasks.embed import MOST_MEASURED
from graft.tasks.labelled import table_stream
from graft.tasks.paired import PairedStream
from graft.tasks.task import Loss, Progress

OWN = "own"
NEW_HEAD = "projection:256"
TEMPERATURE = 0.07
MEASURED = ("image_to_text_recall_at_10", "text_to_image_recall_at_10")
"""What is taken of the validation rows after each epoch; the first is the headline."""


@dataclass(frozen=True)
class Match:
    """Lay each picture near its captions, and away from those of the other pictures of a batch.

    The loss is InfoNCE in both directions with a learned temperature, which begins at 0.07 and
    stays above 0.01. No picture and no caption comes twice in a batch.

    Args:
        classes: has no meaning here.
        head: `own` keeps the towers' projections, or `projection:256` makes new ones.
        keep_head: has no meaning here.
        temperature: where it begins; the towers' own, or 0.07, unless given.

    Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
    Supervision", sections 2.3 and 2.5.
    """

    classes: tuple[str, ...] = ()
    head: str = OWN
    keep_head: bool = True
    temperature: float | None = None

    name: ClassVar[str] = "match"
    metrics: ClassVar[str] = "matching"
    target: ClassVar[str] = "item"
    output: ClassVar[str] = "embedding"
    problem: ClassVar[Problem] = "embedding"
    headline: ClassVar[str] = MEASURED[0]
    is_joint: ClassVar[bool] = True
    is_aligned: ClassVar[bool] = True
    why_not_convex: ClassVar[str] = "a picture's loss depends on the other pictures of its batch"

    def build(self, pair: BackbonePair) -> tuple[Towers, Learned]:  # type: ignore[override]
        """Join two towers by their own projections, or by new ones; learn the temperature."""
        heads = pair.heads
        if heads is None or self.head != OWN:
            spec = NEW_HEAD if self.head == OWN else self.head
            heads = (
                embedding_head(spec, pair.image.width),
                embedding_head(spec, pair.text.width),
            )
        own = TEMPERATURE if pair.log_scale is None else math.exp(-pair.log_scale)
        temperature = own if self.temperature is None else self.temperature
        towers = Towers(pair.image, pair.text, *heads, log_scale=-math.log(temperature))
        width = towers.width
        return towers, Learned(temperature=temperature, n_classes=0, n_centers=0, width=width)

    def streams(self, table: Table, pair: BackbonePair) -> dict[str, Any]:  # type: ignore[override]
        """Return pictures and captions, pair by pair; or one stream of either, by itself."""
        if table.roles.modality != IMAGE_TEXT:
            tower: Backbone = getattr(pair, table.roles.modality)
            return table_stream(table, tower, {})
        images, texts, pairs = sides(table)
        of_images = table_stream(images, pair.image, {})["train"]
        of_texts = table_stream(texts, pair.text, {})["train"]

        def named(row: int) -> str:
            return str(table.origin(row))

        image_of, text_of = pairs.members[:, 0], pairs.members[:, 1] - len(images)
        text = PairedStream(of_texts, text_of, pairs, named)
        return {
            "image": PairedStream(of_images, image_of, pairs, named, text.lengths),
            "text": text,
        }

    def epoch_batches(
        self, stream: PairedStream, batch_size: int, seed: int, epoch: int
    ) -> list[np.ndarray]:
        """Return the pairs of each step, no picture and no caption twice in one."""
        return tuple_batches(stream.pairs.members, stream.batched_by, batch_size, seed, epoch)

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Tensor:
        """Return vectors (n, E) of pictures or of texts, as the head gives them."""
        del progress
        return model(batch.inputs)

    def loss(
        self,
        encoded: Mapping[str, Any],
        batches: Mapping[str, Batch],
        state: nn.Module | None,
        progress: Progress,
    ) -> Loss:
        """Return the loss of both directions, their mean, summed over the pairs of a step."""
        del progress
        assert isinstance(state, Learned)
        images, texts = (unit(encoded[side].float()) for side in ("image", "text"))
        losses, weights = info_nce(
            images,
            texts,
            temperature=state.temperature(),
            symmetric=True,
            ids=batches["image"].targets["item"],
        )
        return Loss(losses.sum(), weights.sum())

    def after_step(self, model: nn.Module, state: nn.Module | None, progress: Progress) -> None:
        """Keep the temperature in its bounds, and tell the model of it."""
        del progress
        assert isinstance(state, Learned) and state.log_scale is not None
        state.after_step()
        model.log_scale.copy_(state.log_scale.detach())  # type: ignore[operator, union-attr]

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `embedding` (n, E), of length one."""
        return {self.output: unit(model(batch.inputs).float())}

    def truth(self, stream: PairedStream) -> Tuples:
        """Return which picture and which caption each pair is."""
        return stream.pairs

    def measure(
        self, outputs: Mapping[str, Mapping[str, np.ndarray]], streams: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return recall at 10 both ways, of a stream whose items have `embedding`.

        Of more than `MOST_MEASURED` pairs those of some pictures are taken, evenly drawn.
        """
        vectors = np.concatenate([outputs[side][self.output] for side in ("image", "text")])
        members = self.truth(streams["image"]).members
        if len(members) > MOST_MEASURED:
            images = np.unique(members[:, 0])
            n_kept = max(1, len(images) * MOST_MEASURED // len(members))
            kept = images[np.linspace(0, len(images) - 1, n_kept).astype(np.int64)]
            members = members[np.isin(members[:, 0], kept)]
            own, numbers = np.unique(members, return_inverse=True)
            members, vectors = numbers.reshape(members.shape), vectors[own]
        found = matching_scorer(Tuples(members), vectors).scores()
        return {name: found[name] for name in MEASURED}

    def untrained(
        self, features: np.ndarray, targets: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Return what is given: without projections there is no space that both share."""
        del features, targets
        return queries

    def answers(self, outputs: np.ndarray) -> list[Prediction]:
        """Return nothing: a vector says nothing to people without what it is compared with."""
        del outputs
        return []

    def settled(self, model: nn.Module) -> Match:
        """Return the task that keeps what the model has: it knows its own temperature."""
        del model
        return Match()
