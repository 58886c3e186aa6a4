"""Features of a backbone for data that a user names, row for row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from graft.adapters import is_adapter, open_model
from graft.api.both_towers import open_both, table_of_side
from graft.api.predicting import places, refuse_many_skipped, refuse_other_modality, table_of
from graft.api.run_limits import RunLimits, limits_of
from graft.backbones.backbone import Backbone
from graft.backbones.pair import folder_of_both
from graft.data.check import usable
from graft.data.faults import Finding, refuse
from graft.data.table import Origin, Table
from graft.engine.fingerprint import fingerprint
from graft.engine.predict import feature_rows, predict_rows
from graft.errors import UnknownName
from graft.surgery.opening import open_whole
from graft.tasks.labelled import table_stream

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Hold the pooled features of N rows.

    Args:
        features: (N, D) float32, NaN in a row that could not be used.
        origins: file and row of each.
        findings: why rows could not be used, and what else was noticed.
        from_files: whether the origins are files, and not lines or a text from the user.
    """

    features: np.ndarray
    origins: tuple[Origin, ...]
    findings: tuple[Finding, ...]
    from_files: bool

    def refuse_if_many_skipped(self) -> None:
        """Raise where more than 1 % of the rows could not be used.

        Raises:
            SkippedTooMany: as said.
        """
        refuse_many_skipped(int(np.isnan(self.features).any(1).sum()), len(self.features))


@dataclass(frozen=True, eq=False)
class Embedder:
    """Turn rows into vectors: a backbone's pooled features, or an embedding model's output.

    Args:
        sides: modality → the backbone that takes it, in eval mode; two towers have two.
        whole: the model and its task, where its output is an embedding.
        limits: those of the run that it comes from.
    """

    sides: Mapping[str, Backbone]
    whole: tuple[nn.Module, Any] | None = None
    limits: RunLimits = field(default_factory=RunLimits)

    @property
    def name(self) -> str:
        """Return what the user asked for."""
        return next(iter(self.sides.values())).origin.name

    def identity(self) -> str:
        """Return the hash of all that a vector depends on: weights and processors."""
        parts = [self.whole[0]] if self.whole is not None else list(self.sides.values())
        weights = [fingerprint(part.state_dict().items()) for part in parts]
        keys = [backbone.processor.key for backbone in self.sides.values()]
        return hashlib.sha256(" ".join([*weights, *keys]).encode()).hexdigest()

    def read(self, data: str | Sequence[str], input: str | None) -> tuple[Table, bool]:
        """Return the rows that a user names, and whether they were read from files."""
        if len(self.sides) > 1:
            return table_of_side(data, input)
        (modality,) = self.sides
        return table_of(data, modality, input, follow_links=self.limits.follow_links)

    def embed(
        self, table: Table, *, from_files: bool = True, precision: Precision = "fp32"
    ) -> Embeddings:
        """Return the vectors of a table's rows; labels do not matter.

        Args:
            precision: in which the network computes; vectors are float32 all the same.

        Raises:
            InputError: the table holds another modality than the model takes, or no row can be
                used.
        """
        backbone = self.sides.get(table.roles.modality) or next(iter(self.sides.values()))
        refuse_other_modality(backbone, table, backbone.origin.name)
        table = replace(table, roles=replace(table.roles, label=None))
        limits = self.limits
        kept, findings = usable(
            table, max_pixels=limits.max_pixels, follow_links=limits.follow_links
        )
        refuse(findings)
        stream = table_stream(kept, backbone, {})["train"]
        with computing_in(precision, backbone if self.whole is None else self.whole[0]):
            if self.whole is None:
                found = feature_rows(backbone, stream)
            else:
                model, task = self.whole
                found = predict_rows(model, task, stream)[task.output]
        vectors = np.full((len(table), found.shape[1]), np.nan, np.float32)
        number_of = {place: i for i, place in enumerate(places(table))}
        vectors[[number_of[place] for place in places(kept)]] = found
        return Embeddings(
            vectors,
            tuple(table.origin(i) for i in range(len(table))),
            (*table.findings, *findings),
            from_files,
        )


def open_embedder(model: str | Path | Backbone, *, backbone: Backbone | None = None) -> Embedder:
    """Open what makes vectors.

    Args:
        model: a run, or any name that `open_backbone` takes, or a backbone declared in Python.
        backbone: where a run's network was declared in Python: the same, declared again.
    """
    if isinstance(model, Backbone):
        return Embedder({model.modality: model.eval()})
    folder, limits = Path(model), limits_of(model)
    if folder_of_both(model) is not None:
        towers, matching = open_both(model)
        return Embedder({"image": towers.image, "text": towers.text}, (towers, matching), limits)
    inner = folder / "model" if (folder / "model" / "graft.json").is_file() else folder
    if (inner / "graft.json").is_file() or is_adapter(inner):
        whole, task = open_model(inner, backbone=backbone)
        of_model = whole.backbone.eval()
        is_embedding = task.name == "embed"
        return Embedder(
            {of_model.modality: of_model}, (whole, task) if is_embedding else None, limits
        )
    opened = open_whole(model) if backbone is None else backbone
    return Embedder({opened.modality: opened.eval()}, limits=limits)


def _multiplied(layer: nn.Module) -> list[nn.Parameter]:
    """Return the weight of a layer that multiplies by one, where it is a parameter."""
    kinds = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    weight = getattr(layer, "weight", None) if isinstance(layer, kinds) else None
    return [weight] if isinstance(weight, nn.Parameter) else []


@contextmanager
def computing_in(precision: Precision, module: nn.Module) -> Iterator[None]:
    """Let a module compute in a precision inside the context; its weights come back as they were.

    The weights of products are rounded once, and not in each of them. Norms keep float32 weights,
    which take either kind of input; buffers are left alone, for rounded positions would drift. No
    other thread may use the module meanwhile.

    Raises:
        UnknownName: there is no such precision.
    """
    if precision not in get_args(Precision):
        raise UnknownName("precision", precision, get_args(Precision))
    if precision == "fp32":
        yield
        return
    weights = {id(w): w for layer in module.modules() for w in _multiplied(layer)}
    tensors = [weight for weight in weights.values() if weight.dtype == torch.float32]
    device = next(module.parameters()).device
    exact = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.data = tensor.data.bfloat16()
        with torch.autocast(device.type, torch.bfloat16):
            yield
    finally:
        for tensor, data in zip(tensors, exact, strict=True):
            tensor.data = data


def embed(
    model: str | Path | Backbone,
    data: str | list[str],
    *,
    input: str | None = None,
    precision: Precision = "fp32",
) -> Embeddings:
    """Return the pooled features of data: what the model's head reads.

    Of an embedding model its embeddings, of length one; of two towers those of pictures or of
    texts, whichever the data holds.

    Args:
        model: a run, or any name that `open_backbone` takes, or a backbone declared in Python.
        data: as `predict_data` takes it: a path, one text, or lines.
        input: name of the input column, where `data` is a table.
        precision: `bf16` is faster on processors that have it, and rounds to three digits.

    Raises:
        UnknownName: there is no such precision.
        InputError: nothing is at the path, it holds another modality than the model takes, or no
            row of it can be used.
    """
    embedder = open_embedder(model)
    table, from_files = embedder.read(data, input)
    return embedder.embed(table, from_files=from_files, precision=precision)
