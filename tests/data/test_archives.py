"""Archives read in place: what is found, what is left out, what is refused."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.archives import normal, open_archive, split_place
from graft.data.check import check, usable
from graft.data.files import entries, join, kind_of
from graft.data.images import decode
from graft.data.readers import read
from graft.data.split import split
from graft.errors import DataError, GraftError

from .makers import picture

Files = Mapping[str, bytes]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_zip(path: str, files: Files, method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: str, files: Files) -> str:
    mode = "w:gz" if path.lower().endswith("gz") else "w"
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


MAKERS: dict[str, Callable[[str, Files], str]] = {
    "d.zip": make_zip,
    "d.tar": make_tar,
    "d.tar.gz": make_tar,
    "D.TGZ": make_tar,
}


def png(color: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), color).save(file, "PNG")
    return file.getvalue()


CLASSES = {f"{c}/{i}.png": png((i * 60, 0, ord(c))) for c in "ab" for i in range(3)}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("top", ["", "pictures/", "a/b/c/"])
def test_class_folders_are_read_as_from_the_disk(name: str, top: str):
    MAKERS[name](name, {f"{top}{n}": data for n, data in CLASSES.items()})
    for n, data in CLASSES.items():
        Path("disk", n).parent.mkdir(parents=True, exist_ok=True)
        Path("disk", n).write_bytes(data)
    packed, plain = read(name), read("disk")
    assert packed.labels() == plain.labels() == ["a"] * 3 + ["b"] * 3
    assert packed.name_of_source == name
    assert packed.origin(4).path == f"{name}!/{top}b/1.png"
    assert packed.content_hash() == plain.content_hash()
    kept, findings = usable(packed)
    assert (len(kept), findings) == (6, ())
    for a, b in zip(packed.inputs(), plain.inputs(), strict=True):
        assert os.path.isabs(a)  # noqa: PTH117 - a place
        np.testing.assert_array_equal(decode(a), decode(b))
    assert not [p for p in Path().iterdir() if p.name not in (name, "disk")]


@pytest.mark.parametrize("name", MAKERS)
def test_split_folders_are_never_labels(name: str):
    files = {f"{part}/{n}": data for part in ("train", "val") for n, data in CLASSES.items()}
    table = read(MAKERS[name](name, {f"set/{n}": d for n, d in files.items()}))
    assert set(table.labels()) == {"a", "b"}
    assert table.roles.split == "split"
    (leak,) = [f for f in check(table, split(table)).findings if f.severity == "error"]
    assert str(leak).startswith(f"{name}!/set/val/a/0.png: 6 held-out rows are also")


@pytest.mark.parametrize("name", MAKERS)
def test_tables_in_archives(name: str):
    train = b"text;label\n" + b"".join(b"text %d;%c\n" % (i, 97 + i % 2) for i in range(6))
    files = {"x/train.csv": train, "x/test.csv.gz": gzip.compress(train.replace(b"text ", b"t "))}
    table = read(
        MAKERS[name](name, {**files, "__MACOSX/._x": b"?", "x/.hidden.csv": b"?"}), sep=";"
    )
    assert len(table) == 12
    assert (table.origin(7).path, table.origin(7).row) in [
        (f"{name}!/x/{file}", row) for file, row in (("train.csv", 2), ("test.csv.gz", 2))
    ]
    assert sorted(set(table.column("split"))) == ["test", "train"]
    one = read(f"{name}!/x/train.csv", sep=";")
    assert (len(one), one.origin(0).path) == (6, f"{name}!/x/train.csv")
    with pytest.raises(DataError) as caught:
        read(MAKERS[name](name, {"t.csv": b"text,label\na \xe9,x\n"}))
    assert str(caught.value) == (
        f"{name}!/t.csv row 1 column `text`: byte 0xE9 is not UTF-8; re-save it as UTF-8 "
        "or pass --encoding cp1252"
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_table_in_an_archive_cannot_name_files_outside(name: str, here: Path):
    secret = picture(here / "secret.png")
    rows = [
        ("a/0.png", "x"),
        (str(secret), "y"),
        ("../secret.png", "x"),
        ("b/../b/0.png", "y"),
        ("../" * 20 + str(secret), "x"),
        (f"..\\..{secret}", "y"),
        ("a/../../secret.png", "x"),
    ]
    body = "".join(f"{path},{label}\n" for path, label in rows)
    MAKERS[name](name, {**CLASSES, "labels.csv": f"path,label\n{body}".encode()})
    table = read(f"{name}!/labels.csv")
    kept, findings = usable(table)
    assert [kept.origin(i).row for i in range(len(kept))] == [1, 4]
    assert {f.message.split(": ")[1] for f in findings} == {
        "no such file; correct the path or remove the row"
    }


def test_pictures_in_an_archive_beside_the_table():
    Path("labels.csv").write_text("path,label\n" + "".join(f"{n},{n[0]}\n" for n in CLASSES))
    for files in (CLASSES, {f"images/{n}": d for n, d in CLASSES.items()}):
        make_zip("images.zip", files)
        for path in ("labels.csv", "."):
            table = read(path)
            assert table.because.endswith("pictures in images.zip")
            assert len(usable(table)[0]) == 6
            assert table.origin(0).row == 1
    picture(Path("a/0.png"))
    assert len(usable(read("labels.csv"))[0]) == 1


def test_unsafe_members_are_left_out_and_named():
    with zipfile.ZipFile("d.zip", "w") as archive:
        for n, data in CLASSES.items():
            archive.writestr(n, data)
        for n in ("../up.png", "/abs.png", "a/../../x.png", "C:/x.png", "a\\..\\..\\x.png"):
            archive.writestr(n, CLASSES["a/0.png"])
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a\\7.png", CLASSES["a/0.png"])
        archive.writestr("a/8.png", CLASSES["a/0.png"], compress_type=zipfile.ZIP_LZMA)
    table = read("d.zip")
    assert table.column("path") == [*sorted([*CLASSES, "a/7.png"])]
    outside = "the name leads out of the archive; pack it again with plain names"
    assert sorted(str(f) for f in table.findings) == sorted([
        f"d.zip!/../up.png: {outside}",
        f"d.zip!//abs.png: {outside}",
        f"d.zip!/a/../../x.png: {outside}",
        f"d.zip!/C:/x.png: {outside}",
        f"d.zip!/a\\\\..\\\\..\\\\x.png: {outside}".replace("\\\\", "\\"),
        "d.zip!/a/link.png: a link or device, which is not followed; pack the file itself",
        "d.zip!/a/8.png: packed by a rare method; pack it again with deflate",
    ])  # fmt: skip

    with tarfile.open("d.tar", "w") as archive:
        for n, data in {**CLASSES, "../up.png": b"x", "/abs.png": b"x"}.items():
            info = tarfile.TarInfo(n)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for n, kind in (("a/s.png", tarfile.SYMTYPE), ("a/h.png", tarfile.LNKTYPE),
                        ("a/f.png", tarfile.FIFOTYPE), ("a/c.png", tarfile.CHRTYPE)):  # fmt: skip
            info = tarfile.TarInfo(n)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    table = read("d.tar")
    assert table.column("path") == sorted(CLASSES)
    assert sorted(f.path for f in table.findings) == [
        "d.tar!/../up.png", "d.tar!//abs.png", "d.tar!/a/c.png", "d.tar!/a/f.png",
        "d.tar!/a/h.png", "d.tar!/a/s.png",
    ]  # fmt: skip


def test_the_last_of_two_members_counts():
    with tarfile.open("d.tar", "w") as archive:
        for n, data in [*CLASSES.items(), ("a/0.png", png("white"))]:
            info = tarfile.TarInfo(n)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    table = read("d.tar")
    assert len(table) == 6
    assert decode(table.inputs()[0]).min() == 255
    assert [str(f) for f in table.findings] == [
        "d.tar!/a/0.png: two members have this name; the last one counts"
    ]


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch):
    make_zip("bomb.zip", {"train.csv": b"text,label\n" + b"0" * 60_000_000})
    make_tar("bomb.tar.gz", {"train.csv": b"text,label\n" + b"0" * 60_000_000})
    for name, what in (("bomb.zip", "the archive"), ("bomb.tar.gz", "the archive")):
        with pytest.raises(DataError) as caught:
            read(name)
        assert str(caught.value) == (
            f"{name}: {what} unpacks to over 200 times its size (a zip bomb?); "
            "unpack it yourself and pass the folder"
        )
    monkeypatch.setattr("graft.data.archives.LARGEST_COUNT", 5)
    for name in ("many.zip", "many.tar"):
        MAKERS["d" + name[4:]](name, CLASSES)
        with pytest.raises(DataError, match=r"more than 5 members; unpack the archive"):
            read(name)
    monkeypatch.setattr("graft.data.archives.LARGEST_COUNT", 50)
    monkeypatch.setattr("graft.data.archives.LARGEST_MEMBER_BYTES", 1000)
    make_zip("large.zip", {**CLASSES, "a/large.png": random.Random(0).randbytes(1001)})
    assert [f.message.split(";")[0] for f in read("large.zip").findings] == [
        "1,001 bytes, over 1 GiB"
    ]


def test_a_member_that_lies_about_its_size_is_damaged():
    data = b"text,label\n" + b"a b,x\n" * 5000
    make_zip("d.zip", {"t.csv": data})
    whole = Path("d.zip").read_bytes()
    at = whole.rindex(b"PK\1\2")
    for claimed in (100, len(data) - 1, len(data) + 1):
        lying = whole[: at + 24] + struct.pack("<I", claimed) + whole[at + 28 :]
        Path("d.zip").write_bytes(lying)
        with pytest.raises(DataError) as caught:
            read("d.zip")
        assert str(caught.value) == (
            "d.zip!/t.csv: damaged inside the archive; download or pack the archive again"
        )


@pytest.mark.parametrize("name", ["d.tar", "d.tar.gz"])
def test_a_member_beyond_the_end_is_left_out(name: str):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for n, size in (("a/0.png", 10), ("a/1.png", 10), ("b/2.png", 10)):
            info = tarfile.TarInfo(n)
            info.size = size
            archive.addfile(info, io.BytesIO(b"x" * size))
    data = whole.getvalue()[: 5 * 512 + 4]
    Path(name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(DataError, match=r"not a whole tar archive|no image in it"):
        read(name)


def test_an_encrypted_archive_is_refused():
    make_zip("d.zip", {"t.csv": b"text,label\n"})
    whole = bytearray(Path("d.zip").read_bytes())
    whole[whole.rindex(b"PK\1\2") + 8] |= 1
    Path("d.zip").write_bytes(whole)
    with pytest.raises(DataError, match=r"^d\.zip: the archive is encrypted; pack it without"):
        read("d.zip")


@pytest.mark.parametrize("name", MAKERS)
def test_broken_archives_are_one_error(name: str):
    random_ = random.Random(1)
    whole = Path(MAKERS[name](name, {**CLASSES, "n/t.csv": b"text,label\n" * 99})).read_bytes()
    for case in range(120):
        broken = bytearray(whole)
        for _ in range(random_.choice((1, 3, 40))):
            broken[random_.randrange(len(broken))] = random_.choice(
                (0, 127, 255, random_.randrange(256))
            )
        data = bytes(broken[: random_.randrange(len(broken))] if case % 3 == 0 else broken)
        Path(name).write_bytes(data)
        try:
            table = read(name)
            usable(table)
            table.content_hash()
        except GraftError as error:
            assert len(str(error)) <= 200
            assert name in str(error)


@pytest.mark.parametrize("name", MAKERS)
def test_golden_messages(name: str):
    MAKERS[name](name, {"__MACOSX/x": b"x"})
    with pytest.raises(DataError) as caught:
        read(name)
    assert str(caught.value) == f"{name}: no file in it that is read; pack it again"
    Path(name).write_bytes(b"<html>not here</html>" * 50)
    with pytest.raises(DataError) as caught:
        read(name)
    kind = "zip" if name == "d.zip" else "tar"
    assert str(caught.value).startswith(f"{name}: not a whole {kind} archive (")
    assert str(caught.value).endswith("; download or pack it again")


def test_places():
    make_zip("d.zip", {"a/b.txt": b"x"})
    assert split_place("d.zip!/a/./b.txt") == ("d.zip", "a/b.txt")
    assert split_place("d.zip!") == ("d.zip", "")
    assert split_place("no.zip!/a") is None
    assert split_place("d.zip/a!/b") is None
    assert [kind_of(f"d.zip!{inner}") for inner in ("", "/a", "/a/b.txt", "/c", "/a/../../x")] == [
        "folder", "folder", "file", None, None,
    ]  # fmt: skip
    assert [(e.name, e.kind) for e in entries("d.zip!/a")] == [("b.txt", "file")]
    assert join("d.zip!", "/etc/passwd").endswith("d.zip!//etc/passwd")
    assert normal("a/b/../../../c") == "../c"
    Path("odd.zip!").mkdir()
    Path("odd.zip!/t.csv").write_text("text,label\na b,x\n")
    assert len(read("odd.zip!/t.csv")) == 1
    with pytest.raises(DataError, match=r"no such file or folder"):
        read("d.zip!/gone.csv")


def test_a_changed_archive_is_listed_anew():
    make_zip("d.zip", {"t.csv": b"text,label\na b,x\n"})
    assert len(read("d.zip")) == 1
    assert open_archive("d.zip") is open_archive("d.zip")
    make_zip("d.zip", {"t.csv": b"text,label\na b,x\nc d,y\n"})
    assert len(read("d.zip")) == 2


@pytest.mark.parametrize("name", MAKERS)
def test_many_may_read_at_once(name: str):
    table = read(MAKERS[name](name, CLASSES))
    places = table.inputs() * 20
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode, places))
    alone = [decode(place) for place in places]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_shared_archives(shared: Path):
    table = read(shared / "data" / "hymenoptera")
    same = read(shared / "data" / "hymenoptera" / "images.zip")
    assert (len(table), len(same)) == (397, 397)
    assert table.roles.split == "split"
    assert sorted(map(tuple, zip(table.column("path"), table.labels(), strict=True))) == sorted(
        map(tuple, zip(same.column("path"), same.labels(), strict=True))
    )
    assert decode(same.inputs()[0]).shape[2] == 3
