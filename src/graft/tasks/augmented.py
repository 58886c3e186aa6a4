"""A stream of pictures that vary: every view of a row has a number of its own.

    number = row + N · view        view 0 is the plain picture

So a batch, a store of features and a micro-batch need know nothing of augmentation: they name rows
by number as ever. What an epoch sees is asked with `numbers`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

from graft.backbones.backbone import Row
from graft.backbones.image_processor import ImageProcessor
from graft.backbones.own import PicturesOrArrays
from graft.batch import Batch
from graft.data.augment import Augment
from graft.tasks.streams import TableStream, wait_for

SPARE = 2
"""Decoded pictures are kept with at least so many times the pixels, a side, that a network sees."""

Made = tuple[Row, np.ndarray | None]
"""An encoded view, and the decoded picture that it was made from, where crops are cut from one."""


class AugmentedStream:
    """Feed the pictures of a stream, plain or varied.

    Args:
        plain: the pictures as they are; what is kept of them counts in its budget.
        augment: how they vary.

    `n_numbers` is N · (1 + views), or None where there is a new view in every epoch.
    """

    lengths = None

    def __init__(self, plain: TableStream, augment: Augment) -> None:
        processor = pictures_of(plain.processor)
        assert processor is not None and plain.lengths is None
        self.plain, self.augment, self._processor = plain, augment, processor
        self.values, self.processor = plain.values, plain.processor
        self.targets, self.groups = plain.targets, plain.groups
        self.key = f"{plain.key}/{augment.key}"
        self._pictures: dict[int, np.ndarray] = {}
        self._pending: dict[int, Future[Made]] = {}

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def n_numbers(self) -> int | None:
        views = self.augment.views
        return None if views is None else len(self) * (1 + views)

    def numbers(self, rows: np.ndarray, phase: int, epoch: int) -> np.ndarray:
        """Return the numbers of the pictures that an epoch sees of some rows."""
        return rows + len(self) * self.augment.view_of(phase, epoch)

    def row_name(self, number: int) -> str:
        """Return where the picture came from that a number is a view of."""
        return self.plain.row_name(number % len(self))

    def bucket(self, length: int) -> int:
        return length

    def batch(
        self,
        rows: np.ndarray,
        *,
        length: int | None = None,
        without: frozenset[str] = frozenset(),
    ) -> Batch:
        """Collate pictures by their numbers; the batch names them by these."""
        inputs: dict[str, Any] = {}
        if not without:
            encoded = self._encoded(np.asarray(rows))
            inputs = self.processor.collate(encoded, length=length)
        chosen = torch.from_numpy(np.asarray(rows) % len(self))
        targets = {name: t[chosen] for name, t in self.targets.items()}
        return Batch(inputs, targets, np.asarray(rows))

    def expect(self, rows: np.ndarray, submit: Callable[..., Future[Any]]) -> None:
        """Let pictures that will be asked for soon be made in the background."""
        self.plain.expect(rows[rows < len(self)], submit)
        for number in rows[rows >= len(self)].tolist():
            if number not in self._pending:
                self._pending[number] = submit(self._make, number)

    def forget(self) -> None:
        """Expect no more pictures."""
        self.plain.forget()
        self._pending.clear()

    def _encoded(self, numbers: np.ndarray) -> list[Row]:
        made = {}
        for number in dict.fromkeys(numbers.tolist()):
            if number < len(self):
                [made[number]] = self.plain.encoded(np.asarray([number]))
                continue
            future = self._pending.pop(number, None)
            made[number], picture = (
                self._make(number) if future is None else wait_for(future, self.row_name(number))
            )
            if picture is not None:
                self._keep(number % len(self), picture)
        return [made[number] for number in numbers.tolist()]

    def _make(self, number: int) -> Made:
        """Make one view; changes nothing, so any thread may call it."""
        view, row = divmod(number, len(self))
        picture = None
        if "crop" in self.augment.names:
            picture = self._picture(row)
            box = self.augment.box(picture.shape[1], picture.shape[0], row, view)
            assert box is not None
            planes = self._processor.frame(picture, box)
        else:
            planes = self._processor.unpack(self.plain.encode(row))
        return self._processor.pack(self.augment.change(planes, row, view)), picture

    def _picture(self, row: int) -> np.ndarray:
        kept = self._pictures.get(row)
        if kept is None:
            kept = reduced(self.plain.load(row), SPARE * max(self._processor.size))
        return kept

    def _keep(self, row: int, picture: np.ndarray) -> None:
        if row not in self._pictures and self.plain.afford(picture.nbytes):
            self._pictures[row] = picture


def pictures_of(processor: Any) -> ImageProcessor | None:
    """Return what treats the pictures of a backbone, or None where they cannot be varied."""
    if isinstance(processor, PicturesOrArrays):
        return processor.pictures
    return processor if isinstance(processor, ImageProcessor) else None


def reduced(value: Any, least: int) -> np.ndarray:
    """Return a decoded picture, large ones reduced by a whole number.

    Args:
        value: (H, W), (H, W, C) or a Pillow image.
        least: the shorter side keeps at least so many pixels.
    """
    from PIL import Image

    pixels = np.asarray(value)
    factor = min(pixels.shape[:2]) // least
    if factor < 2 or pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (1,), (3,)):
        return pixels
    is_flat = pixels.shape[2:] == (1,)
    image = Image.fromarray(pixels[:, :, 0] if is_flat else pixels)
    found = np.asarray(image.reduce(factor))
    return found[:, :, None] if is_flat else found
