"""Decode one image to an array, whatever is stored in it, or say why not.

What other loaders do silently is done rightly here: 16-bit and float images are scaled and not
clipped, transparency is laid on white and does not reveal its hidden colour, orientation is
applied, and the size is checked in the header before a pixel is decoded. Pillow's global settings
are left alone; they belong to the program that uses graft.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from graft.data.doctor.near_pictures import SIDE, thumbnail
from graft.data.faults import data_error
from graft.data.files import Embedded, kind_of, open_binary, size_bytes
from graft.errors import DataError

if TYPE_CHECKING:
    from PIL import Image as PillowImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What is opened, judged by content. Formats that run programs or embed files are not here."""

ENDINGS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""File endings in lower case → the format that they promise."""

MAX_PIXELS = 40_000_000
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
TRANSPARENT_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
EXIF_ORIENTATION = 0x0112


Source = str | Path | Embedded
"""A file on the disk or in an archive, or the bytes of one."""


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """Hold what a file says of itself and survived being read in full.

    Args:
        format: the format of its content.
        width: pixels, as stored.
        height: pixels, as stored.
        mode: Pillow's name of the pixel type.
        moves: whether it holds more frames or pages than the first.
        clear: whether some of it is transparent.
        turned: whether its EXIF orientation says to turn it.
        thumbnail: (16, 16) uint8, grey and upright.
    """

    format: str
    width: int
    height: int
    mode: str
    moves: bool
    clear: bool
    turned: bool
    thumbnail: np.ndarray


def decode(
    path: Source, *, mode: Literal["RGB", "L"] = "RGB", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Return the first frame of an image file, upright and without transparency.

    Args:
        path: a JPEG, PNG, WebP, BMP, GIF or TIFF file, whatever its ending; also one in an
            archive (`d.zip!/a.png`) or bytes of one.
        mode: `RGB` for three channels, `L` for one (grey).
        max_pixels: refuse larger images, before they are decoded.

    Returns:
        uint8 array of shape (H, W, 3), or (H, W, 1) for `L`.

    Raises:
        DataError: the file is missing, no such image, too large, truncated or damaged.
    """
    with opened(path, max_pixels) as image:
        image.load()
        turn = turn_of(image)
        image = flattened(image, path)
        image = image if turn is None else image.transpose(turn)
        pixels = np.array(image.convert(mode))
    return pixels if mode == "RGB" else pixels[:, :, None]


def examine(path: Source, *, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Read an image file to its end and return its facts; a large JPEG at an eighth of its size.

    Raises:
        DataError: as for `decode`.
    """
    with opened(path, max_pixels) as image:
        width, height = image.size
        format_, mode = image.format, image.mode
        moves = bool(getattr(image, "is_animated", False)) and format_ != "MPO"
        image.seek(0)
        image.draft(None, (max(width // 8, 4 * SIDE), max(height // 8, 4 * SIDE)))
        image.load()
        turn = turn_of(image)
        shown = flattened(image, path)
        return ImageFacts(
            format="JPEG" if format_ == "MPO" else str(format_),
            width=width,
            height=height,
            mode=mode,
            moves=moves,
            clear=is_clear(image),
            turned=turn is not None,
            thumbnail=thumbnail(shown if turn is None else shown.transpose(turn)),
        )


@contextmanager
def opened(path: Source, max_pixels: int) -> Generator[PillowImage.Image, None, None]:
    """Open an image file whose header is in order; whatever breaks inside names the file."""
    from PIL import Image, UnidentifiedImageError

    check_file(path)
    try:
        # From a file object, so that Pillow does not map the file into memory: a mapped grey or
        # 16-bit TIFF with an orientation comes out scrambled, and one that shrinks kills us.
        with open_binary(path) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise too_large(path, f"{width} × {height} pixels", max_pixels)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_large(path, "an enormous image", max_pixels) from None
    except UnidentifiedImageError:
        raise data_error(f"{what_it_is(path)}; replace or remove it", path=path) from None
    except (DataError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            message = f"cannot be read ({error.strerror}); change its permissions or remove it"
            raise data_error(message, path=path) from None
        # Pillow's plugins raise nearly anything on damaged bytes: SyntaxError, struct.error, ...
        why = " ".join(str(error).split())[:60] or type(error).__name__
        message = f"the image is truncated or damaged ({why}); replace or remove it"
        raise data_error(message, path=path) from error


def check_file(path: Source) -> None:
    """Refuse what is not a regular file with bytes in it; never opens a pipe or a device."""
    if isinstance(path, Embedded):
        kind, n_bytes = "file", len(path.data)
    else:
        try:
            kind = kind_of(path)
            n_bytes = size_bytes(path) if kind == "file" else 0
        except DataError:
            raise
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            message = f"cannot be read ({why}); correct it or remove it"
            raise data_error(message, path=path) from None
    if kind is None:
        raise data_error("no such file; correct the path or remove the row", path=path)
    if kind == "folder":
        raise data_error("is a folder, not an image; name the file", path=path)
    if kind == "other":
        raise data_error("is a pipe or device, not an image; remove it", path=path)
    if n_bytes == 0:
        raise data_error("the file is empty (0 bytes); replace or remove it", path=path)


def too_large(path: Source, what: str, max_pixels: int) -> Exception:
    """Return the error for an image over the limit."""
    limit = f"{max_pixels / 1e6:g} Mpx"
    return data_error(f"{what}, over {limit}; shrink it or pass --max-pixels", path=path)


def what_it_is(path: Source) -> str:
    """Return in words what a file is that is no image of ours."""
    with open_binary(path) as file:
        head = file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head.lower()
    if lower.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not an image"
    if lower.startswith(b"<svg") or b"<svg" in lower:
        return "an SVG drawing, which is not read"
    if head.startswith((b"%PDF", b"%!PS")):
        return "a PDF or PostScript document, which is not read"
    return "not an image that can be read (JPEG, PNG, WebP, BMP, GIF, TIFF)"


def turn_of(image: PillowImage.Image) -> PillowImage.Transpose | None:
    """Return the turn that sets a loaded image upright, as its EXIF orientation says."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # A camera's broken notes are no reason to lose its picture.
        return None
    return turns.get(orientation) if isinstance(orientation, int) else None


def is_clear(image: PillowImage.Image) -> bool:
    """Tell whether some pixels of a loaded image are transparent."""
    if "transparency" not in image.info and image.mode not in TRANSPARENT_MODES:
        return False
    return bool((np.asarray(image.convert("RGBA").getchannel("A")) < 255).any())


def flattened(image: PillowImage.Image, path: Source) -> PillowImage.Image:
    """Return the image with 8 bits per channel, in a mode without transparency."""
    from PIL import Image

    if image.mode in DEEP_MODES:
        return Image.fromarray(eight_bits(image, path))
    if image.mode == "LAB":
        return from_lab(image)
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        picture = image.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, picture).convert("RGB")
    # Straight from 1-bit or palette to grey would dither or lose the palette.
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def eight_bits(image: PillowImage.Image, path: Source) -> np.ndarray:
    """Return (H, W) uint8 from 16-bit, 32-bit or float pixels by a linear scale that clips nothing.

    0 to 65,535 for whole numbers and 0 to 1 for floats; images that leave these ranges are scaled
    from their own smallest to their own largest value.
    """
    pixels = np.array(image).astype(np.float64)
    if not np.isfinite(pixels).all():
        raise data_error("some pixels are NaN or infinite; fill them in or remove it", path=path)
    low, high = 0.0, 1.0 if image.mode == "F" else 65535.0
    if pixels.size and (pixels.min() < low or pixels.max() > high):
        low, high = float(pixels.min()), float(pixels.max())
    scaled = np.rint((pixels - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):
        scaled[pixels == hidden] = 255
    return scaled


def from_lab(image: PillowImage.Image) -> PillowImage.Image:
    """Return the sRGB image of a CIELAB one."""
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted
