"""Decoding: nothing clipped, nothing revealed, everything upright, every fault named."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from graft.data.images import ENDINGS, FORMATS, decode, examine
from graft.errors import DataError

RAMP = np.stack(np.meshgrid(np.arange(24) * 10, np.arange(16) * 15, indexing="ij"), axis=-1)
COLOURS = np.dstack([RAMP, 255 - RAMP[..., :1]]).astype(np.uint8)  # (24, 16, 3)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _globals_untouched():
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    yield
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def save(array: np.ndarray, name: str, mode: str | None = None, **options) -> str:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(name, **options)
    return name


def png(width: int, height: int, chunks: bytes = b"", data: bytes = b"") -> bytes:
    """Return a PNG of grey pixels written by hand."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_return_the_pixels(ending: str):
    options = {"lossless": True} if ending == "webp" else {}
    name = save(COLOURS, f"a.{ending}", **options)
    pixels = decode(name)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (24, 16, 3)
    np.testing.assert_array_equal(pixels, COLOURS)
    grey = decode(name, mode="L")
    assert grey.shape == (24, 16, 1)
    np.testing.assert_array_equal(grey[..., 0], np.array(Image.fromarray(COLOURS).convert("L")))


def test_pixels_are_ours_to_change():
    pixels = decode(save(COLOURS, "a.png"))
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_all_eight_orientations_are_equal(ending: str, mode: str):  # B37
    # What a camera stores so that orientation k shows COLOURS.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    upright = decode(save(COLOURS, f"0.{ending}", **options.get(ending, {})), mode=mode).astype(int)
    for orientation, transform in undo.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"{orientation}.{ending}"
        stored = np.ascontiguousarray(transform(COLOURS))
        save(stored, name, exif=exif, **options.get(ending, {}))
        pixels = decode(name, mode=mode).astype(int)
        assert pixels.shape == upright.shape, orientation
        assert np.abs(pixels - upright).max() <= (4 if ending == "jpg" else 0), orientation


def test_a_grey_tiff_with_an_orientation_is_not_scrambled():
    turned = Image.Exif()
    turned[0x0112] = 6
    name = save(COLOURS[..., 0].copy(), "a.tif", exif=turned)
    np.testing.assert_array_equal(decode(name)[..., 0], np.rot90(COLOURS[..., 0], -1))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_is_scaled_and_not_clipped(ending: str):  # B34
    deep = np.linspace(0, 65535, 24 * 16).reshape(24, 16).astype(np.uint16)
    pixels = decode(save(deep, f"a.{ending}"))
    np.testing.assert_array_equal(pixels[..., 0], np.rint(deep / 257).astype(np.uint8))
    assert len(np.unique(pixels)) == 256
    turned = Image.Exif()
    turned[0x0112] = 6
    save(deep, f"b.{ending}", exif=turned)
    np.testing.assert_array_equal(decode(f"b.{ending}"), np.rot90(pixels, -1))


def test_big_endian_16_bit_is_scaled():
    deep = np.linspace(0, 65535, 24 * 16).reshape(24, 16).astype(np.uint16)
    image = Image.frombytes("I;16B", (16, 24), deep.astype(">u2").tobytes())
    image.save("a.tif")
    np.testing.assert_array_equal(decode("a.tif")[..., 0], np.rint(deep / 257).astype(np.uint8))


def test_float_and_32_bit_are_scaled():
    unit = np.linspace(0, 1, 24 * 16).reshape(24, 16).astype(np.float32)
    expected = np.rint(unit.astype(np.float64) * 255).astype(np.uint8)
    np.testing.assert_array_equal(decode(save(unit, "a.tif"))[..., 0], expected)
    wide = (unit - 0.5) * 3000
    np.testing.assert_array_equal(decode(save(wide, "b.tif"))[..., 0], expected)
    whole = np.arange(-192, 192, dtype=np.int32).reshape(24, 16) * 1_000_000
    pixels = decode(save(whole, "c.tif"))[..., 0]
    assert (pixels.min(), pixels.max(), len(np.unique(pixels))) == (0, 255, 256)
    unit[3, 3] = np.nan
    with pytest.raises(DataError, match="NaN or infinite; fill them in"):
        decode(save(unit, "d.tif"))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_hidden_colour_does_not_leak(ending: str, mode: str):  # B36
    hidden = np.zeros((16, 16, 4), dtype=np.uint8)
    hidden[..., 0] = 200
    hidden[:8, :, 3] = 255
    hidden[8:12, :, 3] = 128
    options = {"lossless": True, "exact": True} if ending == "webp" else {}
    pixels = decode(save(hidden, f"a.{ending}", **options), mode=mode)
    assert (pixels[12:] == 255).all()
    if mode == "RGB":
        assert (pixels[:8] == [200, 0, 0]).all()
        assert np.abs(pixels[8:12].astype(int) - [227, 127, 127]).max() <= 1


def test_transparent_palette_grey_and_keyed_images_lie_on_white():
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([200, 0, 0, 0, 200, 0])
    palette.paste(1, (8, 0, 16, 16))
    palette.save("p.png", transparency=0)
    palette.save("bytes.png", transparency=b"\x00\xff")
    palette.save("p.gif", transparency=0)
    for name in ("p.png", "bytes.png", "p.gif"):
        pixels = decode(name)
        assert (pixels[:, :8] == 255).all(), name
        assert (pixels[:, 8:] == [0, 200, 0]).all(), name
    grey = Image.new("LA", (16, 16), (40, 0))
    grey.paste((40, 255), (0, 0, 8, 16))
    grey.save("la.png")
    Image.fromarray(COLOURS).save("rgb.png", transparency=tuple(map(int, COLOURS[0, 0])))
    assert (decode("la.png")[:, 8:] == 255).all()
    assert (decode("la.png")[:, :8] == 40).all()
    assert (decode("rgb.png")[0, 0] == 255).all()
    np.testing.assert_array_equal(decode("rgb.png")[1:], COLOURS[1:])
    deep = np.full((16, 16), 30_000, dtype=np.uint16)
    deep[:8] = 1_000
    Image.fromarray(deep).save("deep.png", transparency=1_000)
    assert (decode("deep.png")[:8] == 255).all()
    assert (decode("deep.png")[8:] == 117).all()


def test_modes_are_converted_rightly():  # B35
    flat = np.zeros((16, 16, 3), dtype=np.uint8)
    flat[:] = (200, 60, 20)
    save(flat, "cmyk.jpg", "CMYK", quality=100)
    save(flat, "cmyk.tif", "CMYK")
    save(flat, "ycc.tif", "YCbCr")
    for name in ("p.png", "p.gif"):
        Image.fromarray(flat).quantize(4).save(name)
    for name in ("cmyk.jpg", "cmyk.tif", "ycc.tif", "p.png", "p.gif"):
        assert np.abs(decode(name).astype(int) - flat).max() <= 3, name
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(Image.fromarray(flat), srgb, lab, outputMode="LAB").save("lab.tif")
    assert np.abs(decode("lab.tif").astype(int) - flat).max() <= 3
    bits = np.tile([[0, 255]], (16, 8)).astype(np.uint8)
    for ending in ("png", "tif", "bmp"):
        pixels = decode(save(bits, f"bits.{ending}", "1"))
        np.testing.assert_array_equal(pixels[..., 1], bits)


def test_the_first_frame_counts():  # B38
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.tif", "a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(name, save_all=True, append_images=frames[1:], **options)
        assert (decode(name) == [255, 0, 0]).all(), name
        assert examine(name).moves, name


def test_content_counts_and_not_the_ending():  # B40
    save(COLOURS, "a.png")
    Path("a.png").rename("a.jpg")
    np.testing.assert_array_equal(decode("a.jpg"), COLOURS)
    assert examine("a.jpg").format == "PNG"
    assert set(ENDINGS.values()) == set(FORMATS)


@pytest.mark.parametrize("size", [(1, 1), (1, 9_000), (20_000, 2)])
def test_extreme_shapes_are_decoded(size: tuple[int, int]):  # B39
    Image.new("RGB", size, "teal").save("a.png")
    assert decode("a.png").shape == (size[1], size[0], 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_metadata_is_ignored_or_capped():  # B41
    text = b"zTXt" + b"Comment\0\0" + zlib.compress(b"x" * 90_000_000, 9)
    body = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    Path("a.png").write_bytes(png(16, 16, body, zlib.compress(b"\0" * 17 * 16)))
    with pytest.raises(DataError, match="truncated or damaged"):
        decode("a.png")
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(decode(save(COLOURS, "b.png", icc_profile=icc)), COLOURS)
    exif = b"Exif\0\0II*\0garbage" + b"\xff" * 50
    Image.fromarray(COLOURS).save("c.jpg", exif=exif)
    assert decode("c.jpg").shape == COLOURS.shape


def make_truncated(name: str, keep: float = 0.5, **options) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    save(noise, name, **options)
    data = Path(name).read_bytes()
    Path(name).write_bytes(data[: int(len(data) * keep)])


NOT_READ = "a.jpg: not an image that can be read (JPEG, PNG, WebP, BMP, GIF, TIFF); "
GOLDEN = {
    "zero bytes": (b"", "a.jpg: the file is empty (0 bytes); replace or remove it"),
    "HTML": (
        b"\n<!DOCTYPE html><html>404</html>",
        "a.jpg: an HTML page, not an image; replace or remove it",
    ),
    "text": (b"hello", NOT_READ + "replace or remove it"),
    "SVG": (
        b'<?xml version="1.0"?><svg></svg>',
        "a.jpg: an SVG drawing, which is not read; replace or remove it",
    ),
    "EPS": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "a.jpg: a PDF or PostScript document, which is not read; replace or remove it",
    ),
    "PDF": (
        b"%PDF-1.4",
        "a.jpg: a PDF or PostScript document, which is not read; replace or remove it",
    ),
    "bomb": (
        png(9_000, 9_000),
        "a.jpg: 9000 × 9000 pixels, over 40 Mpx; shrink it or pass --max-pixels",
    ),
    "bomb that Pillow warns of": (
        png(12_000, 12_000),
        "a.jpg: an enormous image, over 40 Mpx; shrink it or pass --max-pixels",
    ),
    "bomb that Pillow refuses": (
        png(20_000, 20_000),
        "a.jpg: an enormous image, over 40 Mpx; shrink it or pass --max-pixels",
    ),
    "PNG without pixels": (png(16, 16), None),
}


@pytest.mark.parametrize("read", [decode, examine])
@pytest.mark.parametrize("case", GOLDEN)
def test_golden_messages(case: str, read):
    data, message = GOLDEN[case]
    Path("a.jpg").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read("a.jpg")
    text = str(caught.value)
    assert text == message or message is None
    assert text.startswith("a.jpg: ")
    assert len(text) <= 200
    assert "\n" not in text


@pytest.mark.parametrize("read", [decode, examine])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.gif"])
def test_truncated_files_are_named(name: str, read):  # B32
    for keep in (0.3, 0.6, 0.9):
        make_truncated(name, keep)
        with pytest.raises(DataError) as caught:
            read(name)
        assert str(caught.value).startswith(f"{name}: ")
        assert str(caught.value).endswith("replace or remove it")


def test_broken_streams_never_raise_anything_else():
    random = np.random.default_rng(0)
    for ending in ("jpg", "png", "webp", "bmp", "tif", "gif"):
        save(COLOURS, f"a.{ending}")
        good = Path(f"a.{ending}").read_bytes()
        for _ in range(60):
            bad = bytearray(good)
            for at in random.integers(0, len(bad), 4):
                bad[at] = random.integers(256)
            Path(f"a.{ending}").write_bytes(bytes(bad))
            with contextlib.suppress(DataError):
                assert decode(f"a.{ending}").dtype == np.uint8


def test_what_is_no_file_is_named():  # B42, B44, B45
    os.mkfifo("pipe.png")
    Path("folder.png").mkdir()
    Path("loop.png").symlink_to("loop.png")
    for name, message in (
        ("pipe.png", "is a pipe or device, not an image; remove it"),
        ("folder.png", "is a folder, not an image; name the file"),
        ("gone.png", "no such file; correct the path or remove the row"),
        ("loop.png", "cannot be read (Too many levels of symbolic links); correct it or remove it"),
        ("nul\0.png", "cannot be read (not a path); correct it or remove it"),
    ):
        with pytest.raises(DataError) as caught:
            decode(name)
        assert str(caught.value).endswith(": " + message)


def test_a_bomb_costs_no_memory():  # B33
    import resource

    Path("bomb.png").write_bytes(png(9_000, 9_000, b"", zlib.compress(b"\0" * 9_001 * 9_000, 9)))
    decode(save(COLOURS, "warm.png"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        with pytest.raises(DataError, match="over 40 Mpx"):
            decode("bomb.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_the_limit_can_be_moved():
    save(COLOURS, "a.png")
    with pytest.raises(DataError, match=r"16 × 24 pixels, over 0\.0001 Mpx"):
        decode("a.png", max_pixels=100)
