"""Augmentation of pictures: each varied picture is a pure function of (seed, view, row).

A view is a number: view 0 is the picture as it is, every other one a variant. Parameters are drawn
from `numpy.random.SeedSequence([seed, view, row, tag])`, with a tag per augmentation, so that none
of these can change one: the order in which pictures are made, how many threads make them, which
other augmentations are on.

A picture is a list of Pillow planes: one in mode RGB or L, or one in mode L for each of any other
number of channels. Augmentations are applied in the order of the table, whatever order they are
named in; `crop` comes first because it decides which pixels are scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.errors import InputError, UnknownName

if TYPE_CHECKING:
    from PIL import Image

Planes = list["Image.Image"]
Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""

AUGMENTATIONS: dict[str, tuple[str, str]] = {
    "crop": ("graft.data.augment:crop", "cut out a random part (35 to 100 % of the area)"),
    "rotate": ("graft.data.augment:rotate", "turn by up to 15 degrees"),
    "flip": ("graft.data.augment:flip", "mirror left and right, one time in two"),
    "colour": (
        "graft.data.augment:colour",
        "change brightness, contrast and saturation by up to 30 %",
    ),
    "grey": ("graft.data.augment:grey", "take the colour away, one time in five"),
    "erase": (
        "graft.data.augment:erase",
        "cover a random box (2 to 20 % of the area) with grey, one time in two",
    ),
}
"""name → (where the function is, one-line summary); they are applied in this order."""

PRESETS: dict[str, tuple[str, ...]] = {
    "light": ("crop", "flip"),
    "strong": ("crop", "rotate", "flip", "colour", "erase"),
}
"""name → the augmentations that it stands for."""

CHOICES = AUGMENTATIONS | {
    name: ("graft.data.augment:PRESETS", " and ".join([", ".join(parts[:-1]), parts[-1]]))
    for name, parts in PRESETS.items()
}
"""name → (where it is, one-line summary) of all that `--augment` takes."""

TAGS = {"crop": 1, "rotate": 2, "flip": 3, "colour": 4, "grey": 5, "erase": 6}
"""augmentation → fourth word of the seed. Never renumber: runs would no longer repeat."""

FORMAT = 1
"""Counted up when an augmentation changes: stored features of older ones are not read."""

AREAS = (0.35, 1.0)
RATIOS = (3 / 4, 4 / 3)
MOST_DEGREES = 15
JITTER = 0.3
GREY = 128


@dataclass(frozen=True)
class Augment:
    """Say how training pictures vary.

    Args:
        names: of `AUGMENTATIONS`, in the order of the table.
        seed: of the run.
        views: so many variants of each picture; None for a new one in every epoch.
    """

    names: tuple[str, ...]
    seed: int = 0
    views: int | None = None

    @property
    def key(self) -> str:
        return f"{self!r} {FORMAT}"

    def view_of(self, phase: int, epoch: int) -> int:
        """Return the view that an epoch of a phase sees; never the plain one."""
        if self.views is None:
            # no two epochs of a run see the same, however many a phase has
            return 1 + phase * 10_000 + epoch
        return 1 + (phase + epoch) % self.views

    def box(self, width: int, height: int, row: int, view: int) -> Box | None:
        """Return the part of a picture that a view shows, in pixels; None for all of it."""
        if "crop" not in self.names:
            return None
        return crop(width, height, self._random("crop", row, view))

    def change(self, planes: Planes, row: int, view: int) -> Planes:
        """Return the planes of a picture as a view shows them, the crop already taken."""
        for name in self.names:
            if name != "crop":
                planes = _function(name)(planes, self._random(name, row, view))
        return planes

    def __str__(self) -> str:
        often = "anew in each epoch" if self.views is None else f"in {self.views} views"
        return f"{', '.join(self.names)} ({often})"

    def _random(self, name: str, row: int, view: int) -> np.random.Generator:
        words = [self.seed, view, row, TAGS[name]]
        return np.random.default_rng(np.random.SeedSequence(words))


def read_augment(text: str, *, seed: int = 0, views: int | None = None) -> Augment:
    """Read a preset's name, or names of augmentations with commas between them.

    Raises:
        UnknownName: no such augmentation.
        InputError: none is named.

    >>> read_augment("flip, crop").names, read_augment("light").names
    (('crop', 'flip'), ('crop', 'flip'))
    """
    asked = [word.strip() for word in text.split(",") if word.strip()]
    if not asked:
        raise InputError("--augment names nothing; see `graft list augmentations`")
    wanted: set[str] = set()
    for name in asked:
        if name not in CHOICES:
            raise UnknownName("augmentation", name, CHOICES)
        wanted |= set(PRESETS.get(name, (name,)))
    return Augment(tuple(n for n in AUGMENTATIONS if n in wanted), seed, views)


def crop(width: int, height: int, random: np.random.Generator) -> Box:
    """Return a box of random area and shape that lies inside a picture.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6, as torchvision's
    RandomResizedCrop draws it; but for the least area, which is 0.08 there: with few pictures a
    twelfth of one seldom shows what its label says.
    """
    for _ in range(10):
        area = width * height * random.uniform(*AREAS)
        ratio = math.exp(random.uniform(*np.log(RATIOS)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(random.integers(width - w + 1))
            top = int(random.integers(height - h + 1))
            return left, top, left + w, top + h
    # of a picture that is longer than all shapes, the middle
    w = min(width, round(height * RATIOS[1]))
    h = min(height, round(width / RATIOS[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def rotate(planes: Planes, random: np.random.Generator) -> Planes:
    """Turn by up to 15 degrees either way; what comes in at the corners is grey."""
    from torchvision.transforms.v2 import InterpolationMode

    angle = float(random.uniform(-MOST_DEGREES, MOST_DEGREES))
    return [
        _functional().rotate(
            plane,
            angle,
            interpolation=InterpolationMode.BILINEAR,
            fill=[GREY] * len(plane.getbands()),
        )
        for plane in planes
    ]


def flip(planes: Planes, random: np.random.Generator) -> Planes:
    """Mirror left and right, one time in two."""
    if random.random() < 0.5:
        return planes
    return [_functional().horizontal_flip(plane) for plane in planes]


def colour(planes: Planes, random: np.random.Generator) -> Planes:
    """Change brightness, contrast and saturation, each by up to 30 %; grey has no saturation."""
    functional = _functional()
    brightness, contrast, saturation = random.uniform(1 - JITTER, 1 + JITTER, 3).tolist()
    changed = []
    for plane in planes:
        plane = functional.adjust_brightness(plane, brightness)
        plane = functional.adjust_contrast(plane, contrast)
        if plane.mode == "RGB":
            plane = functional.adjust_saturation(plane, saturation)
        changed.append(plane)
    return changed


def grey(planes: Planes, random: np.random.Generator) -> Planes:
    """Take the colour away, one time in five."""
    if random.random() >= 0.2:
        return planes
    return [
        _functional().to_grayscale(plane, num_output_channels=3) if plane.mode == "RGB" else plane
        for plane in planes
    ]


def erase(planes: Planes, random: np.random.Generator) -> Planes:
    """Cover a random box with grey, one time in two.

    Source: Zhong et al. 2020, "Random Erasing Data Augmentation", with a plain box.
    """
    if random.random() < 0.5:
        return planes
    width, height = planes[0].size
    area = width * height * random.uniform(0.02, 0.2)
    ratio = math.exp(random.uniform(math.log(0.3), math.log(1 / 0.3)))
    w = max(1, min(width, round(math.sqrt(area * ratio))))
    h = max(1, min(height, round(math.sqrt(area / ratio))))
    left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
    covered = []
    for plane in planes:
        plane = plane.copy()
        plane.paste((GREY,) * 3 if plane.mode == "RGB" else GREY, (left, top, left + w, top + h))
        covered.append(plane)
    return covered


def _function(name: str) -> Callable[[Planes, np.random.Generator], Planes]:
    module, function = AUGMENTATIONS[name][0].split(":")
    return getattr(import_module(module), function)


def _functional() -> Any:
    # torchvision takes a second to import, and most runs need none of it
    from torchvision.transforms.v2 import functional

    return functional
