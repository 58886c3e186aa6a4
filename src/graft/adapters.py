"""Adapters: what a training changed in a network, kept by itself.

    adapter.json                 the backbone's name and fingerprint, what was put in, classes, head
    adapter_model.safetensors    what was put in, and tensors of the network that were trained
    head.safetensors             the head
    adapter_config.json          for LoRA alone: with it the `peft` library opens the folder

A few percent of a network's size, so one backbone serves many tasks. It must be the backbone that
the adapter was trained on: weights and processor are compared by their fingerprints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from graft.artifact import about_task, load_artifact, read_task, save_tensors, seal
from graft.backbones import FORMAT, shown
from graft.backbones.backbone import Backbone, join
from graft.data.table import Table
from graft.engine.groups import locate, resolve, trainable
from graft.engine.predict import answers_to, predict_rows
from graft.engine.start import backbone_fingerprint
from graft.errors import InputError, ModelError, UnknownName
from graft.methods.plan import Plan
from graft.model import Model
from graft.records import Prediction
from graft.storage import storing, whole_folder
from graft.surgery.describing import describe, inserted_tensors, restore
from graft.surgery.inserting import inserted, remove
from graft.surgery.opening import open_whole
from graft.surgery.peft_layout import from_peft, peft_config, to_peft
from graft.tasks.labelled import Labelled, table_stream
from graft.weights.manifest import check_manifest
from graft.weights.reading import read_tensors

ABOUT, TENSORS, HEAD = "adapter.json", "adapter_model.safetensors", "head.safetensors"
LARGEST_SHARE = 0.1
"""Of a network's numbers that may have been trained, for what changed to be worth keeping alone."""
NET = "backbone.net."


@dataclass(frozen=True, eq=False)
class Adapter:
    """Hold an adapter in memory.

    Args:
        folder: that it was read from.
        about: what `adapter.json` says.
        tensors: by name in the network.
        head: by name in the head.
        task: what it predicts.
    """

    folder: Path
    about: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    task: Labelled


class Adapters:
    """One backbone in memory and, beside it, an adapter for each of several tasks.

    >>> both = graft.Adapters("minilm")                                  # doctest: +SKIP
    >>> both.load("intent", "runs/intents/adapter")                     # doctest: +SKIP
    >>> both.load("mood", "runs/reviews/adapter")                       # doctest: +SKIP
    >>> both.predict("mood", ["what a film"])                           # doctest: +SKIP

    Args:
        backbone: a name or folder as `open_backbone` takes it, or a backbone; changed in place.
    """

    def __init__(self, backbone: str | Path | Backbone) -> None:
        is_name = isinstance(backbone, str | Path)
        self.backbone: Backbone = open_whole(backbone) if is_name else backbone  # type: ignore[assignment]
        if any(inserted(self.backbone)):
            raise ModelError(
                f"{shown(self.backbone.origin.name)}: has adapters in it already; begin from the "
                "network without them"
            )
        self._sha256 = backbone_fingerprint(Model(self.backbone, nn.Identity()))
        self._processor = self.backbone.processor.key
        self._known: dict[str, Adapter] = {}
        self._own: dict[str, Tensor] = {}
        self._in_use: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the adapters, in the order in which they were loaded."""
        return tuple(self._known)

    def load(self, name: str, folder: str | Path) -> None:
        """Read an adapter and remember it under a name.

        Raises:
            ModelError: it is damaged, or was trained on another backbone.
        """
        adapter = read_adapter(Path(folder))
        expected, of = adapter.about["backbone_sha256"], adapter.about["backbone"]
        if expected != self._sha256:
            raise ModelError(
                f"{shown(folder)}: was trained on other weights of `{shown(str(of))}` than those "
                f"of `{shown(self.backbone.origin.name)}`; open the backbone that it names"
            )
        # folders of older versions do not say
        if adapter.about.get("processor", self._processor) != self._processor:
            raise ModelError(
                f"{shown(folder)}: was trained with another processor of `{shown(str(of))}` than "
                f"that of `{shown(self.backbone.origin.name)}` ({self.backbone.processor}); open "
                "the backbone that it names"
            )
        self._known[name] = adapter
        if self._in_use == name:
            self._in_use = None

    def use(self, name: str) -> tuple[Model, Labelled]:
        """Switch to an adapter; returns the model, in eval mode, and its task.

        Models that were returned before share the backbone: they are of no use any more.

        Raises:
            UnknownName: no adapter was loaded under the name.
        """
        if name not in self._known:
            raise UnknownName("adapter", name, self._known)
        adapter, net = self._known[name], self.backbone.net
        if self._in_use != name:
            remove(net)
            net.load_state_dict(self._own, strict=False)
            now = net.state_dict()
            self._own = {k: now[k].clone() for k in adapter.tensors if k in now}
            restore(net, adapter.about["inserted"], adapter.tensors, str(adapter.folder))
            self._in_use = name
        model, _ = adapter.task.build(self.backbone)
        model.head.load_state_dict(dict(adapter.head))
        return model.eval(), adapter.task

    def predict(self, name: str, values: Sequence[Any] | str) -> list[Prediction | None]:
        """Predict with an adapter as `graft.predict` does with a run.

        Raises:
            InputError: the adapter is of an embedding model, or a value is no text or picture.
        """
        model, task = self.use(name)
        if task.name == "embed":
            raise InputError(f"adapter {name}: predicts nothing; take its vectors by embed()")
        return answers_to(model, task, values)

    def embed(self, name: str, values: Sequence[Any] | str) -> np.ndarray:
        """Return the vectors (N, D) of texts or of paths of images by an embedding model's adapter.

        Raises:
            InputError: the adapter is of no embedding model.
        """
        model, task = self.use(name)
        if task.name != "embed":
            raise InputError(f"adapter {name}: knows no embeddings; ask it by predict()")
        table = Table.of_values(values, self.backbone.modality)
        return predict_rows(model, task, table_stream(table, self.backbone, {})["train"])[
            task.output
        ]


def save_adapter(
    folder: Path, model: Model, task: Labelled, plan: Plan, *, backbone_sha256: str
) -> bool:
    """Write what a plan's training changed in a network, if that is little.

    Args:
        backbone_sha256: of the backbone before it was trained.

    Returns:
        Whether anything was written.

    Raises:
        StorageError: it cannot be written.
    """
    before = [c for _, c in inserted(model.backbone.net) if c.surgery not in plan.insert]
    if before or not plan.phases:  # no name opens a network that had modules put in already
        return False
    tensors = changed_tensors(model, plan)
    n_changed = sum(t.numel() for t in tensors.values())
    n_all = sum(p.numel() for p in model.backbone.parameters())
    if plan.start == "random" or n_changed > LARGEST_SHARE * n_all:
        return False
    name = model.backbone.origin.name
    about = {
        **about_task(task, "graft"),
        "backbone": name,
        "backbone_sha256": backbone_sha256,
        "processor": model.backbone.processor.key,
        "inserted": describe(model.backbone.net),
    }
    config = peft_config(model.backbone.net, tensors, name)
    mend = "free some space, then pass --resume"
    with storing("the adapter", folder, mend), whole_folder(folder) as written:
        if config is not None:
            about["opens_with"] = "peft"
            tensors = to_peft(tensors)
            text = json.dumps(config, indent=2) + "\n"
            (written / "adapter_config.json").write_text(text, encoding="utf-8")
        save_tensors(written / TENSORS, tensors, {"format": "pt"})
        save_tensors(written / HEAD, model.head.state_dict(), {"format": "pt"})
        (written / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        seal(written, like=written / ABOUT)
    return True


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter that `save_adapter` wrote.

    Raises:
        ModelError: it is none, or damaged.
    """
    path = folder / ABOUT
    if not path.is_file():
        raise ModelError(f"{shown(folder)}: no {ABOUT}; point at the adapter/ folder of a run")
    check_manifest(folder)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ModelError(f"{path}: format {about['format']} is not {FORMAT}; update graft")
        task = read_task(about)
        known = [about[key] for key in ("backbone", "backbone_sha256", "inserted")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: cannot be read ({type(error).__name__}); restore the file"
        ) from None
    del known
    return Adapter(
        folder, about, from_peft(read_tensors(folder / TENSORS)), read_tensors(folder / HEAD), task
    )


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter."""
    return (folder / ABOUT).is_file()


def open_model(
    folder: Path, *, backbone: Backbone | str | Path | None = None
) -> tuple[Model, Labelled]:
    """Open a model folder, or an adapter on the backbone that it names.

    Args:
        folder: of a model or an adapter.
        backbone: of an adapter: where its backbone lies now; of a model: a network of the user's.

    Raises:
        ModelError: as `load_artifact` and `Adapters.load`.
    """
    if is_adapter(folder):
        adapter = read_adapter(folder)
        adapted = Adapters(adapter.about["backbone"] if backbone is None else backbone)
        adapted.load("only", folder)
        return adapted.use("only")
    assert not isinstance(backbone, str | Path)
    return load_artifact(folder, backbone=backbone)


def changed_tensors(model: Model, plan: Plan) -> dict[str, Tensor]:
    """Return what a plan trains of a network or puts into it, by name in the network.

    Running statistics move with the norm that they belong to; those of a norm without parameters of
    its own may have moved where anything around it trains.
    """
    located = locate(model)
    trained = {
        id(m.parameter): m.place.name.removeprefix(NET)
        for phase in plan.phases
        for m in trainable(resolve(phase.rules, located, may_be_idle=True))
        if m.place.role == "backbone"
    }
    net = model.backbone.net
    saved = net.state_dict().keys()
    found = inserted_tensors(net)
    for name, parameter in net.named_parameters():
        if id(parameter) in trained:
            found[name] = parameter
    around = tuple(
        f"{path}."
        for chain in model.backbone.chains
        for part in chain.parts
        if any(name.startswith(tuple(f"{p}." for p in part)) for name in trained.values())
        for path in part
    )
    for path, module in net.named_modules():
        own = list(module.parameters(recurse=False))
        is_bare = not own and isinstance(module, _NormBase) and f"{path}.".startswith(around)
        if is_bare or any(id(p) in trained for p in own):
            buffers = {join(path, name): b for name, b in module.named_buffers(recurse=False)}
            found |= {name: buffer for name, buffer in buffers.items() if name in saved}
    return found
