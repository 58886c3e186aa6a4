"""Folders that are not of classes: tables of a split, a table beside images, saved datasets."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from graft.data.check import usable
from graft.data.images import decode
from graft.data.readers import read
from graft.data.split import split
from graft.data.table import Table
from graft.errors import DataError

from .makers import picture


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    return tmp_path


def write(name: str, text: str) -> None:
    path = Path("d") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows(n: int, word: str = "text") -> str:
    return "text,label\n" + "".join(f"{word} {i},{'ab'[i % 2]}\n" for i in range(n))


# ----------------------------------------------------------------------------- tables of a split


def test_tables_named_as_parts_are_the_split():
    write("train.csv", rows(8))
    write("dev.tsv", rows(4, "dev").replace(",", "\t"))
    write("test.jsonl", json.dumps({"label": "a", "text": "one of them"}) + "\n")
    write("README.md", "x")
    table = read("d")
    splits = split(table)
    assert splits.how == "as given"
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [8, 4, 1]
    assert table.columns == ("text", "label", "split")
    last = int(splits.validation[-1])
    assert (table.origin(last).path, table.origin(last).row) == ("d/dev.tsv", 4)


def test_shards_and_a_data_folder():
    for i in range(2):
        Path("d/data").mkdir(exist_ok=True)
        table = pa.table({"text": [f"s{i} {k}" for k in range(3)], "label": ["a", "b", "a"]})
        pyarrow.parquet.write_table(table, f"d/data/train-0000{i}-of-00002.parquet")
    pyarrow.parquet.write_table(table, "d/data/test-00000-of-00001.parquet")
    found = read("d")
    assert found.column("split") == ["test"] * 3 + ["train"] * 6
    assert found.origin(6).path == "d/data/train-00001-of-00002.parquet"


def test_other_tables_are_named():
    write("train.csv", rows(4))
    write("unlabelled.csv", "text\na b\n")
    assert [str(f) for f in read("d").findings] == [
        "d/unlabelled.csv: not a part of the split; pass it by itself if meant"
    ]


def test_a_single_table():
    write("all.csv", rows(4))
    table = read("d")
    assert (len(table), table.roles.split, table.origin(0).path) == (4, None, "d/all.csv")


def test_class_folders_win_over_a_table_beside_them():
    for label in "ab":
        picture(Path("d") / label / "x.png")
    write("labels.csv", "path,label\na/x.png,other\nb/x.png,label\n")
    table = read("d")
    assert table.labels() == ["a", "b"]
    assert [str(f) for f in table.findings] == [
        "d/labels.csv: not read; pass it if it holds labels"
    ]
    Path("d/b/x.png").rename("d/a/y.png")
    Path("d/b").rmdir()
    write("labels.csv", "path,label\na/x.png,other\na/y.png,label\n")
    assert read("d").labels() == ["other", "label"]


GOLDEN = {
    "several tables": (
        {"a.csv": rows(2), "b.csv": rows(2)},
        "d: several tables (a.csv, b.csv); pass one, or name them train, validation, test",
    ),
    "other columns": (
        {"train.csv": rows(2), "test.csv": "text,category\na b,x\n"},
        "d/train.csv: lacks category, unlike test.csv; write the same columns",
    ),
    "other types": (
        {
            "train.jsonl": '{"text": "a b", "label": ["x"]}\n',
            "test.jsonl": '{"text": "a b", "label": "x"}\n',
        },
        (
            "d/train.jsonl column `label`: list<item: string> here, large_string in test.jsonl; "
            "save alike"
        ),
    ),
    "header only": (
        {"train.csv": "text,label\n"},
        "d/train.csv: only a header line; add rows",
    ),
    "archive only": (
        {"x.zip": "x"},
        "d: only the archive x.zip; pass its path",
    ),
    "two metadata": (
        {"metadata.csv": rows(2), "metadata.jsonl": "{}"},
        "d: metadata.csv, metadata.jsonl side by side; keep one",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_messages(case: str):
    files, message = GOLDEN[case]
    for name, text in files.items():
        write(name, text)
    with pytest.raises(DataError) as caught:
        read("d")
    assert str(caught.value) == message


def test_options_reach_the_tables():
    write("train.csv", rows(4).replace(",", ";"))
    assert len(read("d", sep=";")) == 4
    with pytest.raises(DataError, match="--sep has no meaning here"):
        Path("d/train.csv").rename("d/train.parquet")
        read("d", sep=";")


# ------------------------------------------------------------------------- metadata beside images


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_metadata_beside_images(ending: str):
    names = [f"{c}{i}.png" for c in "xy" for i in range(3)]
    for i, name in enumerate(names):
        picture(Path("d/images") / name, color=(i, 0, 0))
    cells = [(f"images/{name}", name[0]) for name in names]
    lines = {
        "csv": ["file_name,label", *(f"{a},{b}" for a, b in cells)],
        "jsonl": [json.dumps({"file_name": a, "label": b}) for a, b in cells],
    }
    write(f"metadata.{ending}", "\n".join(lines[ending]) + "\n")
    table = read("d")
    assert table.because == "image: `file_name` (by name), label: `label` (by name)"
    assert table.labels() == ["x"] * 3 + ["y"] * 3
    assert table.origin(3).row == 4
    assert len(usable(table)[0]) == 6


def test_metadata_in_the_folders_of_a_split():
    for part, n in (("train", 3), ("test", 2)):
        body = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(n))
        write(f"{part}/metadata.csv", "file_name,label\n" + body)
        for i in range(n):
            picture(Path("d") / part / f"{i}.png", color=(i, n, 0))
    table = read("d")
    assert table.column("file_name")[0] == "test/0.png"
    assert len(usable(table)[0]) == 5
    assert table.column("split") == ["test"] * 2 + ["train"] * 3
    assert table.origin(0).path == "d/test/metadata.csv"


def test_paths_under_split_folders_are_a_split():
    cells = ["train/0.png,a", "train/1.png,b", "validation/2.png,a", "test/3.png,b"]
    write("metadata.csv", "file_name,label\n" + "\n".join(cells) + "\n")
    for i, part in enumerate(("train", "train", "validation", "test")):
        picture(Path("d") / part / f"{i}.png")
    table = read("d")
    assert table.column("split") == ["train", "train", "validation", "test"]
    assert table.because.endswith("split: the first folder of the paths")


# --------------------------------------------------------------------- Hugging Face saved datasets


def features(**kinds: list[str] | None) -> dict[bytes, bytes]:
    """Return the schema's metadata as Hugging Face datasets write it."""
    found = {
        name: {"_type": "Value"} if names is None else {"names": names, "_type": "ClassLabel"}
        for name, names in kinds.items()
    }
    return {b"huggingface": json.dumps({"info": {"features": found}}).encode()}


def save(folder: str, data: pa.Table, n_files: int = 1) -> None:
    """Write a dataset as `Dataset.save_to_disk` does."""
    place = Path(folder)
    place.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{n_files:05d}.arrow" for i in range(n_files)]
    step = -(-data.num_rows // n_files)
    for i, name in enumerate(names):
        with (
            pa.OSFile(str(place / name), "wb") as file,
            pa.ipc.new_stream(file, data.schema) as out,
        ):
            out.write_table(data.slice(i * step, step))
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"}
    (place / "state.json").write_text(json.dumps(state))
    (place / "dataset_info.json").write_text("{}")


def reviews(n: int, word: str = "text") -> pa.Table:
    data = pa.table({"text": [f"{word} {i}" for i in range(n)], "label": [i % 2 for i in range(n)]})
    return data.replace_schema_metadata(features(text=None, label=["neg", "pos"]))


def test_a_saved_dataset():
    save("s", reviews(7), n_files=2)
    table = read("s")
    assert table.labels() == ["neg", "pos"] * 3 + ["neg"]
    assert (table.origin(5).path, table.origin(5).row) == ("s/data-00001-of-00002.arrow", 2)
    assert read("s/data-00000-of-00002.arrow").labels() == ["neg", "pos"] * 2


def test_a_saved_dict_of_datasets():
    for part, n in (("train", 6), ("test", 2), ("unsupervised", 3)):
        save(f"s/{part}", reviews(n, part))
    splits = {"splits": ["train", "test", "unsupervised"]}
    Path("s/dataset_dict.json").write_text(json.dumps(splits))
    table = read("s")
    assert table.column("split") == ["train"] * 6 + ["test"] * 2
    assert [str(f) for f in table.findings] == [
        ("s/unsupervised: neither train, validation nor test; pass this folder by itself if meant")
    ]
    assert split(table).given


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_pictures_in_a_column(kind: str):
    names = [f"{i}.png" for i in range(4)]
    pictures = [
        picture(Path(name), color=(i * 60, 0, 0)).read_bytes() for i, name in enumerate(names)
    ]
    cells = [{"bytes": b, "path": n} for b, n in zip(pictures, names, strict=True)]
    cells[2] = {"bytes": b"<html>", "path": None}
    cells[3] = {"bytes": None, "path": "3.png"}
    data = pa.table({"image": cells, "label": [0, 1, 0, 1]})
    data = data.replace_schema_metadata(features(image=None, label=["ant", "bee"]))
    if kind == "parquet":
        pyarrow.parquet.write_table(data, "d.parquet")
        table = read("d.parquet")
    else:
        save("s", data)
        Path("3.png").rename("s/3.png")
        table = read("s")
    file = table.origin(0).path
    assert table.roles.modality == "image"
    assert table.labels() == ["ant", "bee"] * 2
    assert decode(table.inputs()[1])[0, 0].tolist() == [60, 0, 0]
    kept, findings = usable(table)
    assert [kept.origin(i).row for i in range(len(kept))] == [1, 2, 4]
    assert [str(f) for f in findings] == [
        f"{file} row 3: an HTML page, not an image; replace or remove it"
    ]
    assert kept.content_hash() == kept.take([0, 1, 2]).content_hash()
    assert kept.content_hash() != kept.take([1, 0, 2]).content_hash()
    again = Table.of_values(kept.inputs(), "image")
    for a, b in zip(kept.inputs(), again.inputs(), strict=True):
        assert decode(a).tolist() == decode(b).tolist()


def test_saved_lists_of_classes_are_several_labels():
    kinds = {
        "text": {"_type": "Value"},
        "labels": [{"names": ["joy", "fear"], "_type": "ClassLabel"}],
    }
    data = pa.table({"text": ["a b", "c d", "e f"], "labels": [[0], [], [1, 0]]})
    noted = {b"huggingface": json.dumps({"info": {"features": kinds}}).encode()}
    save("s", data.replace_schema_metadata(noted))
    assert read("s").label_lists() == [("joy",), (), ("fear", "joy")]
    assert read("s").target_kind == "multi"


def test_missing_class_numbers_are_missing_labels():
    data = pa.table({"text": ["a b", "c d"], "label": [-1, 1]})
    pyarrow.parquet.write_table(
        data.replace_schema_metadata(features(label=["neg", "pos"])), "d.parquet"
    )
    assert read("d.parquet").labels() == ["", "pos"]


def test_golden_messages_of_saved_data():
    save("s", reviews(4))
    state = json.loads(Path("s/state.json").read_text())
    data = reviews(4).set_column(1, "label", pa.array([0, 1, 2, 0]))
    cases = {
        "s/state.json": (
            json.dumps({**state, "_data_files": [{"filename": "../x.arrow"}]}),
            "s: names '../x.arrow', which is not beside it; save it again",
        ),
        "s/state.json ": (
            json.dumps({**state, "_indices_data_files": [{"filename": "i.arrow"}]}),
            "s: rows are chosen by an index that is not read; call flatten_indices() and save",
        ),
        "s/state.json  ": ("{}", "s: state.json names no data files; save the dataset again"),
        "s/state.json   ": ("[", "s/state.json: missing or no JSON object; save the dataset again"),
    }
    for text, message in cases.values():
        Path("s/state.json").write_text(text)
        with pytest.raises(DataError) as caught:
            read("s")
        assert str(caught.value) == message
    save("t", data.replace_schema_metadata(reviews(1).schema.metadata))
    with pytest.raises(DataError) as caught:
        read("t")
    assert str(caught.value) == (
        "t/data-00000-of-00001.arrow column `label`: a class number without a name among the 2; "
        "mend the dataset"
    )
    Path("t/data-00000-of-00001.arrow").write_bytes(b"not arrow at all, no")
    with pytest.raises(DataError, match=r"^t/data-00000-of-00001\.arrow: no whole Arrow file \("):
        read("t")


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_saved_data_in_an_archive(kind: str):
    import zipfile

    save("s/train", reviews(4))
    save("s/test", reviews(2, "other"))
    Path("s/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    if kind == "zip":
        with zipfile.ZipFile("s.zip", "w") as archive:
            for path in sorted(Path("s").rglob("*.*")):
                archive.write(path)
    table = read("s.zip" if kind == "zip" else "s")
    assert table.column("split") == ["train"] * 4 + ["test"] * 2


def test_parquet_faults():
    Path("d.parquet").write_bytes(b"PAR1 not at all PAR1")
    with pytest.raises(DataError, match=r"^d\.parquet: no whole Parquet file \(.*\); save or"):
        read("d.parquet")
    pyarrow.parquet.write_table(reviews(0), "d.parquet")
    with pytest.raises(DataError, match=r"^d\.parquet: no rows in it; add rows"):
        read("d.parquet")
    whole = reviews(100)
    coded = whole.set_column(
        1, "label", whole.column("label").cast(pa.string()).dictionary_encode()
    )
    pyarrow.parquet.write_table(coded.replace_schema_metadata(None), "d.parquet")
    assert set(read("d.parquet").labels()) == {"0", "1"}
    as_bytes = pa.table({"text": [b"a b", b"c d"], "label": [b"x", b"y"]})
    pyarrow.parquet.write_table(as_bytes, "d.parquet")
    assert read("d.parquet").inputs() == ["a b", "c d"]
    bad = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"ab\xff\xfe")],
    )
    pyarrow.parquet.write_table(pa.table({"text": bad, "label": ["a", "b"]}), "d.parquet")
    with pytest.raises(DataError, match="holds text that is not UTF-8"):
        read("d.parquet")


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_damaged_columns_are_one_error(ending: str):
    if ending == "parquet":
        pyarrow.parquet.write_table(reviews(50), "o.parquet")
    else:
        save("s", reviews(50))
        Path("s/data-00000-of-00001.arrow").rename("o.arrow")
    whole = Path(f"o.{ending}").read_bytes()
    chance = random.Random(0)
    for case in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(len(data))] = chance.choice((0, 127, 128, 255))
        Path(f"d.{ending}").write_bytes(
            data[: chance.randrange(len(data))] if not case % 5 else data
        )
        try:
            table = read(f"d.{ending}", input="text")
            usable(table)
        except DataError as error:
            assert str(error).startswith(f"d.{ending}")
            assert len(str(error)) <= 200


def test_the_hub_is_asked_for_by_its_prefix_alone(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def fetch(name: str, **options: object) -> str:
        asked.append((name, options["repo_type"], options["revision"]))
        return "d"

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    write("train.csv", rows(4))
    table = read("hub:owner/name@v2")
    assert (len(table), table.name_of_source) == (4, "hub:owner/name@v2")
    write("plain_text/train.csv", rows(2))
    assert len(read("hub:name")) == 4
    assert len(read("hub:owner/name/plain_text")) == 2
    assert asked == [
        ("owner/name", "dataset", "v2"),
        ("name", "dataset", None),
        ("owner/name", "dataset", None),
    ]


def test_pictures_of_a_fetched_snapshot_are_links(monkeypatch: pytest.MonkeyPatch, here: Path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: "c/snapshots/v1")
    for label in "ab":
        picture(here / "c/blobs" / f"{label}.png", color="red" if label == "a" else "blue")
        Path("c/snapshots/v1", label).mkdir(parents=True)
        Path("c/snapshots/v1", label, "x.png").symlink_to(here / "c/blobs" / f"{label}.png")
    picture(here / "c/secret.png")
    Path("c/snapshots/v1/a/y.png").symlink_to(here / "c/secret.png")
    table = read("hub:owner/name")
    assert table.labels() == ["a", "b"]
    assert [f.code for f in table.findings] == ["link-outside"]
    assert len(usable(table)[0]) == 2


def test_parts_of_several_formats_join():
    write("train.csv", rows(4))
    pyarrow.parquet.write_table(pa.table({"text": ["a b"], "label": ["a"]}), "d/test.parquet")
    assert len(read("d")) == 5
    pyarrow.parquet.write_table(pa.table({"text": ["a b"], "label": [1]}), "d/test.parquet")
    with pytest.raises(DataError) as caught:
        read("d")
    assert str(caught.value) == (
        "d/train.csv column `label`: large_string here, int64 in test.parquet; save alike"
    )


def test_the_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError) as caught:
        read("hub:owner/no-such-name")
    assert str(caught.value) == (
        "hub:owner/no-such-name: the Hub is not reached and the dataset is not here; "
        "go online or pass a folder"
    )
    with pytest.raises(DataError, match="no name of a dataset; write hub:OWNER/NAME"):
        read("hub:no name")
