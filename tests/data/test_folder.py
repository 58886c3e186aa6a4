"""Class folders of images: what is a label, what is a split, what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graft.data.readers import read
from graft.errors import DataError

from .makers import picture


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        picture(Path("d") / name)


def test_class_folders():
    make("cat/b.PNG", "cat/a.jpg", "dog/c.webp", "dog/d.tiff", "dog/e.gif", "ant/f.bmp")
    table = read("d")
    assert table.column("path") == [
        "ant/f.bmp", "cat/a.jpg", "cat/b.PNG", "dog/c.webp", "dog/d.tiff", "dog/e.gif",
    ]  # fmt: skip
    assert table.labels() == ["ant", "cat", "cat", "dog", "dog", "dog"]
    assert table.roles.modality == "image"
    assert table.roles.split is None
    assert table.because == "image: the files, label: the folders' names"


@pytest.mark.parametrize("train", ["train", "Train"])
@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_split_folders_are_never_labels(train: str, validation: str):
    make(f"{train}/cat/a.png", f"{train}/dog/b.png", f"{validation}/cat/c.png", "TEST/dog/d.png")
    table = read("d")
    assert set(table.labels()) == {"cat", "dog"}
    assert sorted(table.column("split")) == ["test", "train", "train", "validation"]
    assert table.roles.split == "split"


def test_images_deeper_down_belong_to_their_class():
    make("cat/2020/a.png", "cat/b.png", "dog/c.png")
    assert read("d").labels() == ["cat", "cat", "dog"]


def test_names_of_every_kind():
    names = ["cat/a b.png", "cat/ü.png", "cat/new\nline.png", f"cat/{'x' * 240}.png", "Cat/A.png",
             "cat/a.png", "dog/e\u0301.png", "dog/\u00e9.png", "dog/<b>.png"]  # fmt: skip
    make(*names)
    table = read("d")
    assert sorted(table.column("path")) == sorted(names)
    assert set(table.labels()) == {"cat", "Cat", "dog"}
    assert table.findings == ()


def test_hidden_files_are_ignored():
    make("cat/a.png", "dog/b.png", "cat/.c.png", ".git/d.png", "__MACOSX/cat/a.png")
    Path("d/.DS_Store").write_text("x")
    table = read("d")
    assert len(table) == 2
    assert table.findings == ()


def test_what_is_left_out_is_named(here: Path):
    make("cat/a.png", "dog/b.png", "stray.png")
    picture(here / "outside" / "o.png")
    Path("d/cat/notes.txt").write_text("x")
    os.mkfifo("d/cat/pipe.png")
    Path("d/cat/inside.png").symlink_to("../dog/b.png")
    Path("d/cat/outside.png").symlink_to(here / "outside" / "o.png")
    Path("d/cat/nowhere.png").symlink_to("nowhere")
    Path("d/cat/loop.png").symlink_to("loop.png")
    Path("d/dog/up").symlink_to("..")
    Path("d/linked").symlink_to(here / "outside")
    table = read("d")
    assert table.column("path") == ["cat/a.png", "cat/inside.png", "dog/b.png"]
    assert {str(f) for f in table.findings} == {
        "d/cat/notes.txt: not the ending of an image; remove or rename it",
        "d/cat/pipe.png: a pipe, socket or device; remove it",
        (
            "d/cat/outside.png: the link leaves the data root; copy the file into it or pass "
            "--follow-links"
        ),
        "d/cat/nowhere.png: the link leads nowhere; remove it",
        "d/cat/loop.png: the link leads nowhere; remove it",
        "d/dog/up: the link leads to no file; copy what it leads to",
        "d/linked: a link to a folder, not followed; copy the folder or pass --follow-links",
        "d/stray.png: an image beside the class folders; move it into one",
    }
    assert {f.severity for f in table.findings} == {"skip"}


def test_links_are_followed_where_that_is_asked(here: Path):  # B44
    make("cat/a.png", "dog/b.png")
    picture(here / "outside" / "o.png")
    Path("d/cat/outside.png").symlink_to(here / "outside" / "o.png")
    Path("d/linked").symlink_to(here / "outside")
    Path("d/dog/up").symlink_to("..")
    Path("d/dog/across").symlink_to("../cat")
    Path("d/cat/across").symlink_to("../dog")
    Path("d/cat/nowhere.png").symlink_to("nowhere")
    table = read("d", follow_links=True)
    assert table.column("path") == [
        "cat/a.png",
        "cat/across/b.png",
        "cat/outside.png",
        "dog/across/a.png",
        "dog/across/outside.png",
        "dog/b.png",
        "linked/o.png",
    ]
    assert {str(f) for f in table.findings if f.code == "link-loop"} == {
        f"d/{loop}: a link to a folder that it lies in; remove it"
        for loop in ("dog/up", "cat/across/up", "cat/across/across", "dog/across/across")
    }


def test_class_folders_without_an_image_stop_unless_dropped():  # B15
    make("cat/a.png", "dog/.hidden.png", "emu/.hidden.png")
    assert [(f.severity, str(f)) for f in read("d").findings] == [
        (
            "error",
            (
                f"d/{name}: no image in it; add jpg/jpeg/png/webp/bmp/gif/tif/tiff files or "
                "remove the folder, or pass --drop-empty-classes"
            ),
        )
        for name in ("dog", "emu")
    ]
    dropped = read("d", drop_empty_classes=True)
    assert [(f.severity, str(f)) for f in dropped.findings] == [
        ("repair", f"d/{name}: a class without an image was left out") for name in ("dog", "emu")
    ]


def test_a_name_that_is_not_utf8_is_left_out():
    make("cat/a.png", "dog/b.png")
    Path("d/cat/a.png").rename(os.fsdecode(b"d/cat/\xff.png"))
    make("cat/a.png")
    table = read("d")
    assert len(table) == 2
    assert [str(f) for f in table.findings] == [
        "d/cat/\\udcff.png: the name is not UTF-8; rename the file"
    ]


GOLDEN = {
    "mixed": (
        ("train/cat/a.png", "dog/b.png"),
        (
            "d: folders of a split (train) beside others (dog); "
            "move the classes into the split's folders"
        ),
    ),
    "no classes": (
        ("train/.a.png",),
        "d: no class folders in it; make one folder per class",
    ),
    "images right in the split": (
        ("train/a.png",),
        "d: no class folders in it; make one folder per class",
    ),
    "split inside a class": (
        ("cat/train/a.png", "cat/val/b.png", "dog/train/c.png"),
        "d/cat/train: the name of a split inside a class; put the split's folders on top",
    ),
    "split inside a split": (
        ("train/test/a.png",),
        (
            "d/train/test: the name of a split where a class is expected; "
            "put the split's folders on top"
        ),
    ),
    "no image at all": (
        ("cat/.hidden.png", "dog/.hidden.png"),
        "d/cat: no image in it; add jpg/jpeg/png/webp/bmp/gif/tif/tiff files or remove the folder",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_messages(case: str):
    names, message = GOLDEN[case]
    make(*names)
    with pytest.raises(DataError) as caught:
        read("d")
    assert str(caught.value) == message


def test_images_without_class_folders_are_unlabelled():
    make("b.png", "a.png")
    Path("d/notes.txt").write_text("x")
    table = read("d")
    assert (table.column("path"), table.labels()) == (["a.png", "b.png"], None)
    assert table.origin(0).path == "d/a.png"
    assert table.because == "image: the files, label: none, for there are no folders of classes"
    assert [f.code for f in table.findings] == ["not-an-image"]


def test_what_may_not_be_listed_is_left_out(monkeypatch: pytest.MonkeyPatch):  # B45
    make("cat/a.png", "cat/shut/b.png", "dog/c.png")
    scandir = os.scandir

    def guarded(place: str):
        if str(place).endswith("shut"):
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr("graft.data.files.os.scandir", guarded)
    table = read("d")
    assert len(table) == 2
    assert [(f.severity, str(f)) for f in table.findings] == [
        ("skip", "d/cat/shut: cannot be listed (Permission denied); change its permissions")
    ]


def test_a_table_of_image_paths():
    make("x/a.png", "x/b.png")
    Path("d/labels.csv").write_text("path,label\nx/a.png,ant\nx/b.png,bee\n")
    table = read("d/labels.csv")
    assert table.roles.modality == "image"
    assert table.inputs() == [str(Path.cwd() / "d/x/a.png"), str(Path.cwd() / "d/x/b.png")]
    assert table.origin(1).row == 2
