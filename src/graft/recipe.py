"""The recipe: everything a training is asked to do, in one strict schema.

Flags and YAML become a Recipe; nothing below this file reads a configuration. An unknown key, a
wrong type and an option that the method does not have are all reported at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from graft.errors import RecipeError

DEFAULT_TEXT_MODEL = "minilm"
HIGHEST = 4
"""Folders above a recipe in which its paths are looked for."""
CUSTOM = "custom"
"""What stands for the method where a Plan was passed in Python; `plan` then holds its text."""
ZERO_SHOT = "zero-shot"
"""The method that trains nothing: the names of the classes are the head."""


Placed = Literal["data", "model", "text_model", "target", "teacher", "unlabeled", "remember"]
"""Fields that name a place."""

SWITCHES = frozenset(
    [
        "allow_leak",
        "fold_labels",
        "drop_empty_classes",
        "drop_conflicts",
        "follow_links",
        "learn_temperature",
        "symmetric",
    ]
)


class Recipe(BaseModel):
    """Say what to train, on what, and how. None leaves the choice to the method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = ""
    model: str | None = None
    text_model: str | None = None
    lock: Literal["image", "text"] | None = None
    target: str | None = None
    adapt: Literal["dann", "coral", "mmd", "none"] | None = None
    adapt_weight: float | None = Field(None, gt=0)
    init_head: Literal["zero-shot"] | None = None
    template: tuple[str, ...] | None = None
    task: Literal["embed"] | None = None
    method: str = "lp-ft"
    at: str | None = None
    plan: str | None = None
    input: str | None = None
    label: str | None = None
    group: str | None = None
    split_column: str | None = None
    target_kind: Literal["single", "multi", "number"] | None = None
    allow_leak: bool = False
    fold_labels: bool = False
    drop_empty_classes: bool = False
    drop_conflicts: bool = False
    min_per_class: int | None = Field(None, ge=1)
    max_pixels: int = Field(40_000_000, ge=1)
    max_skip: float = Field(0.01, ge=0, le=1)
    follow_links: bool = False
    encoding: str | None = None
    sep: str | None = None
    validation: float = Field(0.15, ge=0, lt=1)
    test: float = Field(0.15, ge=0, lt=1)
    head: str = "linear"
    channels: int | None = Field(None, ge=1)
    class_weights: Literal["balanced"] | None = None
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    focal: float | None = Field(None, gt=0)
    objective: str | None = None
    margin: float | None = None
    temperature: float | None = Field(None, gt=0)
    learn_temperature: bool = False
    mining: str | None = None
    scale: float | None = Field(None, gt=0)
    symmetric: bool = False
    guard: float | None = Field(None, ge=0)
    center_weight: float | None = Field(None, gt=0)
    dims: str | None = None
    distance: str | None = None
    mine: float | None = Field(None, ge=0, le=2)
    items_per_class: int | None = Field(None, ge=2)
    teacher: str | None = None
    distil: Literal["logits", "features", "embedding"] | None = None
    distil_weight: float | None = Field(None, gt=0, le=1)
    distil_temperature: float | None = Field(None, gt=0)
    unlabeled: str | None = None
    student_blocks: int | None = Field(None, ge=1)
    remember: str | None = None
    augment: str | None = None
    views: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    lr: float | None = Field(None, gt=0)
    head_lr: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    l2_sp: float | None = Field(None, gt=0)
    decay: float | None = Field(None, gt=0, le=1)
    l2: float | None = Field(None, gt=0)
    size: int | None = Field(None, ge=1)
    rank: int | None = Field(None, ge=1)
    alpha: float | None = Field(None, gt=0)
    placement: str | None = None
    batch_size: int | None = Field(None, ge=1)
    micro_batch_size: int | None = Field(None, ge=1)
    schedule: Literal["constant", "linear", "cosine", "slanted"] | None = None
    warmup: float | None = Field(None, ge=0, lt=1)
    clip: float | None = Field(None, gt=0)
    patience: int | None = Field(None, ge=1)
    ema: float | None = Field(None, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    strategy: Literal["ddp", "fsdp"] = "ddp"
    threads: int | None = Field(None, ge=1)
    workers: int | None = Field(None, ge=0)
    cache: str = "auto"
    checkpoint_every: int = Field(200, ge=0)
    _file: Path | None = PrivateAttr(None)
    _written: frozenset[str] = PrivateAttr(frozenset())

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_switches(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML reads `on`, `no` and `true` as booleans, which would pass for 1 and 0
        if isinstance(value, bool) and info.field_name not in SWITCHES:
            raise ValueError("should be a number or a word")
        return value

    @field_validator("at", mode="before")
    @classmethod
    def _block_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("at")
    @classmethod
    def _any_or_block(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if value != "any" and not value.isdecimal():
            raise ValueError("should be `any` or the number of a block")
        if info.data.get("method", "probe") != "probe":
            raise ValueError("goes with method `probe` alone: pass --method probe or leave it out")
        return value

    def place(self, field: Placed) -> str | None:
        """Return where a path lies: seen from here, or from the nearest folder above the recipe's.

        So a run goes on, or is repeated, from any working directory and after its project has
        moved. Only what the file itself names is looked for, up to `HIGHEST` folders above it; not
        beside it, where a run has its own `model`.
        """
        path = getattr(self, field)
        if not path or field not in self._written or self._file is None:
            return path
        if path == DEFAULT_TEXT_MODEL or ":" in path or _exists(Path(path)):
            return path
        above = self._file.parent.parents[:HIGHEST]
        return next((str(folder / path) for folder in above if _exists(folder / path)), path)

    def placed(self) -> Recipe:
        """Return the recipe with its paths as `place` finds them."""
        return self.model_copy(update={field: self.place(field) for field in get_args(Placed)})

    @property
    def written(self) -> tuple[str, frozenset[str]]:
        """Return the name of the file that was read, and the fields that it says and no flag."""
        return "" if self._file is None else self._file.name, self._written

    @property
    def begins_at_names(self) -> bool:
        """Return whether the head begins at the names of the classes."""
        return self.init_head is not None or self.method == ZERO_SHOT

    def digest(self) -> str:
        """Hash what changes the result, the data's content aside.

        Where data, a target and stores lie, how often is saved and what runs ahead does not; nor do
        limits that only decide whether a run begins.
        """
        kept = self.model_dump(exclude=NO_RESULT) | {"target": self.target is not None}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


NO_RESULT = {"data", "unlabeled", "cache", "checkpoint_every", "workers", "max_skip"}
"""Fields that change no weight."""


def read_recipe(values: Mapping[str, Any], path: str | Path | None = None) -> Recipe:
    """Build a recipe from flags over a YAML file.

    Raises:
        RecipeError: one line per fault, all of them.
    """
    merged: dict[str, Any] = {}
    if path is not None:
        import yaml

        try:
            read = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RecipeError(f"{path}: no such file; correct --recipe") from None
        except (OSError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())[:120]
            raise RecipeError(f"{path}: cannot be read as YAML ({reason}); correct it") from None
        if not isinstance(read, dict):
            raise RecipeError(f"{path}: must hold `key: value` lines; see `graft train --help`")
        merged |= read
    given = {k: v for k, v in values.items() if v is not None}
    try:
        recipe = Recipe(**merged | given)
    except ValidationError as error:
        raise RecipeError("\n".join(_fault(e, path) for e in error.errors())) from None
    if path is not None:
        recipe._file = Path(path).resolve()
        recipe._written = frozenset(merged) - given.keys()
    return recipe


def _fault(error: Mapping[str, Any], path: str | Path | None) -> str:
    import difflib

    where = ".".join(map(str, error["loc"]))
    place = f"{path}: " if path is not None else ""
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(where, Recipe.model_fields, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "remove it"
        return f"{place}unknown key `{where}`: {hint}"
    fault = error["msg"].removeprefix("Value error, ")
    return f"{place}`{where}`: {fault[:1].lower()}{fault[1:]}, found {error['input']!r}"
