"""From what a user names to the candidates."""

from __future__ import annotations

import pytest

from graft.comparison.candidates import candidates
from graft.errors import InputError


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("models/b", "models/a", "models/.hidden", "lists/near"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "models" / "README.md").touch()
    (tmp_path / "models" / "a" / "config.json").touch()
    return tmp_path


def test_names_stand_between_commas_and_each_counts_once(place):
    assert candidates("minilm, timm:x,minilm,") == ("minilm", "timm:x")
    assert candidates(["b", place / "c", "b"]) == ("b", str(place / "c"))
    long = ",".join(f"timm:{'x' * 30}{i}" for i in range(20))
    assert len(candidates(long)) == 20


def test_a_folder_gives_the_folders_in_it_or_is_a_model_itself(place):
    assert candidates("models") == ("models/a", "models/b")
    assert candidates("models/a") == ("models/a",)


def test_a_list_holds_a_name_a_line_and_comments(place):
    (place / "lists" / "m.txt").write_text("# all\nminilm\n\nnear  # beside it\nmodels/a\n")
    assert candidates("lists/m.txt") == ("minilm", "lists/near", "models/a")


@pytest.mark.parametrize("named", ["", " , ", [], "empty.txt"])
def test_no_name_is_an_error(place, named):
    (place / "empty.txt").write_text("# none\n")
    with pytest.raises(InputError, match="--models"):
        candidates(named)


def test_what_is_not_there_is_named(place):
    with pytest.raises(InputError, match=r"nowhere\.txt: cannot be read"):
        candidates("nowhere.txt")
    with pytest.raises(InputError, match=r"models/b: .*it is empty"):
        candidates("models/b")
