"""Data with one fault each, made by code: what B1 to B48 of the catalogue of faults look like.

`CASES` maps a case to what writes it into the folder at hand and the options that it is read with;
it returns the path that a user would name. `golden.tsv` beside this file has the lines that the
doctor says of each.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.tiny import FILLERS, write_checkpoint
from tests.tiny import WORDS as WORDS_OF_MODEL

Maker = Callable[[], str]
WORDS = (
    "river", "stone", "lamp", "bread", "winter", "garden", "letter", "music", "window", "ocean",
    "paper", "silver",
)  # fmt: skip


def texts(n: int, seed: int = 0) -> list[str]:
    """Return `n` texts of which no two are alike."""
    random = np.random.default_rng(seed)
    return [f"{' '.join(random.choice(WORDS, 6))} number {i}" for i in range(n)]


def table(
    name: str = "d.csv",
    labels: Sequence[object] = ("a", "b") * 10,
    inputs: Sequence[object] | None = None,
    **columns: Sequence[object],
) -> str:
    """Write a CSV of texts with labels and other columns."""
    import csv

    inputs = texts(len(labels)) if inputs is None else inputs
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", *columns])
        writer.writerows(zip(inputs, labels, *columns.values(), strict=True))
    return name


def raw(data: bytes, name: str = "d.csv") -> str:
    """Write bytes."""
    Path(name).write_bytes(data)
    return name


def lines(n: int = 20) -> bytes:
    """Return rows of a good CSV, without its header."""
    return b"".join(f"{t},{'ab'[i % 2]}\n".encode() for i, t in enumerate(texts(n)))


def changed(row: int, text: object, n: int = 200) -> str:
    """Write a table whose row number `row` (from 1) has another text."""
    inputs: list[object] = list(texts(n))
    inputs[row - 1] = text
    return table(labels=["a", "b"] * (n // 2), inputs=inputs)


def labelled(row: int, label: object, n: int = 200) -> str:
    """Write a table whose row number `row` (from 1) has another label."""
    labels: list[object] = ["a", "b"] * (n // 2)
    labels[row - 1] = label
    return table(labels=labels)


def split_table(inputs: Sequence[str], labels: Sequence[str], n_train: int, **more: Any) -> str:
    """Write a table whose first rows train and whose others test."""
    parts = ["train"] * n_train + ["test"] * (len(labels) - n_train)
    return table(labels=labels, inputs=inputs, split=parts, **more)


def scene(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Return a smooth picture that no other seed resembles."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def folder(n: int = 8) -> Path:
    """Write class folders of pictures, and return the first.

    Among so few a single bad one needs `max_skip`.
    """
    for i in range(n):
        place = Path("d") / "ab"[i % 2] / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        scene(i).save(place)
    return Path("d/a")


def with_file(name: str, data: bytes) -> str:
    """Write class folders with one more file."""
    (folder() / name).write_bytes(data)
    return "d"


def with_picture(name: str, image: Image.Image, **options: Any) -> str:
    """Write class folders with one more picture."""
    place = folder() / name
    image.save(place, **options)
    return "d"


def jpeg(image: Image.Image, **options: Any) -> bytes:
    """Return the bytes of a JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def bomb(width: int = 9_000, height: int = 9_000) -> bytes:
    """Return a PNG of a few kB that would fill 243 MB when decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width // 8)) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", rows + packer.flush())
        + chunk(b"IEND", b"")
    )


def turned(orientation: int) -> bytes:
    """Return a JPEG whose EXIF says to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(scene(900), exif=exif)


def frames() -> dict[str, Any]:
    """Return the options that save a second frame."""
    return {"save_all": True, "append_images": [scene(901)]}


def empty_class() -> str:
    """Write class folders, one of them without a picture."""
    folder()
    Path("d/none").mkdir()
    return "d"


def captioned(*, without: int = 0, n_pictures: int = 1) -> str:
    """Write pictures with two captions each, or with none, or several pictures in a row."""
    import json

    rows = []
    for i in range(9):
        scene(i).save(f"{i}.png")
        names: Any = f"{i}.png" if n_pictures == 1 else [f"{i}.png"] * n_pictures
        captions = [] if i < without else [f"{words} here" for words in texts(2, seed=i)]
        rows.append(json.dumps({"image": names, "captions": captions}) + "\n")
    return raw("".join(rows).encode(), "c.jsonl")


def listed_images() -> str:
    """Write a CSV of pictures, one of them missing and one a folder."""
    folder()
    names = [f"d/{'ab'[i % 2]}/{i}.jpg" for i in range(8)]
    names[5], names[7] = "d/a/gone.jpg", "d/x.jpg"
    Path("d/x.jpg").mkdir()
    return table("l.csv", ["a", "b"] * 4, names)


def none_there() -> str:
    """Write a CSV of pictures of which none is there."""
    return table("l.csv", ["a", "b"], ["0.jpg", "1.jpg"])


def named_oddly() -> str:
    """Write class folders with pictures of every kind of name."""
    place = folder()
    for i, name in enumerate(ODD_NAMES):
        scene(910 + i).save(place / f"{name}.png")
    return "d"


def led_away(target: str | None = None) -> str:
    """Write class folders with a link out of them, or to `target`."""
    place = folder() / "link.jpg"
    if target is None:
        scene(902).save("outside.jpg")
        target = str(Path("outside.jpg").resolve())
    place.symlink_to(target)
    return "d"


def piped() -> str:
    """Write class folders with a pipe among the pictures."""
    os.mkfifo(folder() / "pipe.jpg")
    return "d"


def piped_table() -> str:
    """Write a CSV that names a pipe."""
    folder()
    names = [f"d/{'ab'[i % 2]}/{i}.jpg" for i in range(8)]
    names[3] = "pipe.jpg"
    os.mkfifo("pipe.jpg")
    return table("l.csv", ["a", "b"] * 4, names)


def unreadable() -> str:
    """Write class folders with one picture that may not be read."""
    place = folder() / "secret.jpg"
    scene(903).save(place)
    place.chmod(0)
    return "d"


def near_pictures() -> str:
    """Write the folders of a split; a test picture is a training picture, smaller and brighter."""
    for i in range(24):
        part = "train" if i < 16 else "test"
        place = Path("d") / part / "ab"[i % 2] / f"{i:02}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        scene(i).save(place)
    small = scene(3).resize((40, 30)).point(lambda v: min(v * 1.1, 255))
    small.save("d/test/b/copy.jpg", quality=70)
    return "d"


def near_texts() -> str:
    """Write a split whose test repeats training texts in other spellings."""
    inputs = texts(24)
    inputs[20] = f"  {inputs[2].upper()}! "
    inputs[21] = inputs[3].replace("number", "numbers")
    return split_table(inputs, ["a", "b"] * 12, 16)


def leaking() -> str:
    """Write a split whose test repeats a training row."""
    inputs = texts(24)
    inputs[20] = inputs[2]
    return split_table(inputs, ["a", "b"] * 12, 16)


def conflicts() -> str:
    """Write a table in which one text has two labels."""
    inputs = texts(40)
    inputs[7] = inputs[6]
    return table(labels=["a", "b"] * 20, inputs=inputs)


def speakers(column: str) -> str:
    """Write a split that tears people apart."""
    people = [f"p{i % 6}" for i in range(24)]
    return split_table(texts(24), ["a", "b"] * 12, 16, **{column: people})


def repeated_id() -> str:
    """Write a table in which two rows have the same id."""
    return table(labels=["a", "b"] * 20, id=[str(i) for i in range(39)] + ["7"])


def known(row: int, text: str, n: int = 40) -> str:
    """Write a model and a table of its own words, whose row number `row` has another text."""
    write_checkpoint(Path("m"))
    words = [*WORDS_OF_MODEL["animal"], *WORDS_OF_MODEL["colour"], *FILLERS]
    random = np.random.default_rng(0)
    inputs = [" ".join(random.choice(words, 9)) for _ in range(n)]
    inputs[row - 1] = text
    return table(labels=["a", "b"] * (n // 2), inputs=inputs)


def unknown_class() -> str:
    """Write a model and a table, one class of which is in words that the model does not know."""
    known(1, "the cat is here")
    rows = Path("d.csv").read_text(encoding="utf-8").splitlines()
    random = np.random.default_rng(1)
    words = ("река", "камень", "лампа", "хлеб", "зима", "сад", "письмо", "музыка", "окно", "море")
    rows[2::2] = [f"{' '.join(random.choice(words, 9))},b" for _ in rows[2::2]]
    Path("d.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return "d.csv"


MODEL = {"model": "m"}
ODD_NAMES = ("über allen", "line\nend", "é", "e\u0301", "A", "a", "=cmd()", "<b>", "n" * 240)
"""Names that are accepted: spaces, line ends, both forms of an accent, both cases, 244 bytes."""

UTF16 = ("text,label\n" + lines().decode()).encode("utf-16")
LATIN = b"text,label\n" + lines(6) + b"caf\xe9,a\n" + lines(6)
HALF = b'{"text": "half \\ud800 pair", "label": "a"}\n{"text": "x y", "label": "b"}\n'

CASES: dict[str, tuple[Maker, dict[str, Any]]] = {
    "B1 mark": (lambda: raw(b"\xef\xbb\xbftext,label\n" + lines()), {}),
    "B2 latin-1": (lambda: raw(LATIN), {}),
    "B2 UTF-16": (lambda: raw(UTF16), {}),
    "B2 UTF-16 without a mark": (lambda: raw(UTF16[2:]), {}),
    "B2 big-endian": (lambda: raw(UTF16[2:].decode("utf-16-le").encode("utf-16-be")), {}),
    "B2 lines of UTF-16": (lambda: raw(HALF.decode().encode("utf-16-le"), "d.jsonl"), {}),
    "B3 cell of 200,000": (lambda: changed(3, "word " * 40_000), {}),
    "B3 cell over 10 million": (lambda: raw(b"text,label\n" + b"x" * 10_000_001 + b",a\n"), {}),
    "B4 NUL": (lambda: raw(b"text,label\nab,a\nc\x00d,b\n"), {}),
    "B5 quote": (lambda: raw(b'text,label\n"never closed,a\n' + lines()), {}),
    "B6 ragged": (lambda: raw(b"text,label\n" + lines(4) + b"one,two,a\n" + b"one\n"), {}),
    "B7 semicolons": (lambda: raw(b"text;label\n" + lines().replace(b",", b";")), {}),
    "B8 column": (lambda: table(), {"label": "Lable"}),
    "B9 names": (lambda: raw(b"text,label,label\na b,x,y\n"), {}),
    "B10 empty": (lambda: raw(b""), {}),
    "B10 header": (lambda: raw(b"text,label\n"), {}),
    "B10 one row": (lambda: raw(b"text,label\na b,x\n"), {}),
    "B11 text": (lambda: changed(3, " \t"), {}),
    "B12 label": (lambda: labelled(4, "nan"), {}),
    "B12 labels": (lambda: table(labels=["a", "b", "", "a"] * 2), {}),
    "B13 case": (lambda: table(labels=["cat", "dog", "Cat ", "dog"] * 10), {}),
    "B13 typo": (lambda: table(labels=["positive", "other"] * 30 + ["postive", "postive"]), {}),
    "B14 unseen": (lambda: split_table(texts(24), ["a", "b"] * 11 + ["new", "a"], 16), {}),
    "B15 empty class": (empty_class, {}),
    "B16 one class": (lambda: table(labels=["a"] * 20), {}),
    "B17 one row": (lambda: labelled(9, "rare"), {}),
    "B18 ids": (lambda: table(labels=range(200)), {"label": "label", "target_kind": "single"}),
    "B19 ids": (repeated_id, {}),
    "B20 repeated": (lambda: table(inputs=texts(10) * 2, labels=["a", "b"] * 10), {}),
    "B21 conflict": (conflicts, {}),
    "B22 leak": (leaking, {}),
    "B23 text": (near_texts, {}),
    "B23 picture": (near_pictures, {}),
    "B24 group": (lambda: speakers("who"), {"group": "who"}),
    "B24 speaker": (lambda: speakers("speaker_id"), {}),
    "B25 a million letters": (lambda: known(3, "the cat " * 125_000), MODEL),
    "B26 half a pair": (lambda: raw(HALF, "d.jsonl"), {}),
    "B26 decomposed": (lambda: changed(3, "cafe\u0301 au lait"), {}),
    "B27 unknown words": (unknown_class, MODEL),
    "B28 formulas": (lambda: changed(3, "=cmd|' /C calc'!A0"), {}),
    "B29 number": (
        lambda: table(labels=[*(i / 7 for i in range(198)), "inf", "high"]),
        {"target_kind": "number"},
    ),
    "B29 infinite": (
        lambda: table(labels=[*(i / 7 for i in range(199)), "-inf"]),
        {"label": "label", "target_kind": "number"},
    ),
    "B29 mostly infinite": (
        lambda: table(labels=["1.5", "inf", "2.5", "inf", "3.5", "4.5"]),
        {"label": "label", "target_kind": "number"},
    ),
    "B31 zero bytes": (lambda: with_file("empty.jpg", b""), {}),
    "B31 page": (lambda: with_file("page.jpg", b"<!DOCTYPE html><html></html>"), {}),
    "B31 text": (lambda: with_file("notes.txt", b"note"), {}),
    "B32 cut": (lambda: with_file("cut.jpg", jpeg(scene(904))[:-400]), {}),
    "B33 bomb": (lambda: with_file("bomb.png", bomb()), {}),
    "B34 deep": (
        lambda: with_picture(
            "deep.png", Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16)
        ),
        {},
    ),
    "B35 CMYK": (lambda: with_picture("press.jpg", scene(905).convert("CMYK")), {}),
    "B36 clear": (
        lambda: with_picture("clear.png", Image.new("RGBA", (20, 20), (255, 0, 0, 0))),
        {},
    ),
    "B37 turned": (lambda: with_file("turned.jpg", turned(6)), {}),
    "B38 moving": (lambda: with_picture("moving.gif", scene(906), **frames()), {}),
    "B38 pages": (lambda: with_picture("pages.tif", scene(907), **frames()), {}),
    "B39 one pixel": (lambda: with_picture("dot.png", Image.new("RGB", (1, 1))), {}),
    "B39 a line": (lambda: with_picture("line.png", Image.new("RGB", (2, 20_000))), {}),
    "B40 ending": (lambda: with_picture("really.jpg", scene(908), format="PNG"), {}),
    "B40 PostScript": (lambda: with_file("drawing.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n"), {}),
    "B40 SVG": (lambda: with_file("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), {}),
    "B41 profile": (
        lambda: with_picture("profile.jpg", scene(909), icc_profile=b"x" * 60_000),
        {},
    ),
    "B42 missing": (listed_images, {}),
    "B42 all missing": (none_there, {}),
    "B43 names": (named_oddly, {}),
    "B44 outside": (led_away, {}),
    "B44 loop": (lambda: led_away("link.jpg"), {}),
    "B44 pipe": (piped, {}),
    "B44 pipe in a table": (piped_table, {}),
    "B45 unreadable": (unreadable, {}),
    "B48 no caption": (lambda: captioned(without=2), {}),
    "B48 no captions": (lambda: captioned(without=9), {}),
    "B48 counts": (lambda: captioned(n_pictures=2), {}),
}
for _case in CASES:
    if int(_case[1:3]) > 30:
        CASES[_case][1]["max_skip"] = 0.5
"""case → what makes it, and the options that it is read with."""
