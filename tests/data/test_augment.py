"""Augmentation: a picture is a pure function of (seed, view, row), and each name does its own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from graft.data.augment import (
    AREAS,
    AUGMENTATIONS,
    PRESETS,
    RATIOS,
    TAGS,
    Augment,
    crop,
    read_augment,
)
from graft.errors import InputError, UnknownName

SIZE = (20, 16)


def picture(mode: str = "RGB", seed: int = 0) -> Image.Image:
    shape = (SIZE[1], SIZE[0], 3) if mode == "RGB" else (SIZE[1], SIZE[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def changed(name: str, row: int = 0, view: int = 1, *, mode: str = "RGB", seed: int = 0):
    [plane] = Augment((name,), seed).change([picture(mode)], row, view)
    return np.asarray(plane)


def test_tables_hold_together():
    assert TAGS.keys() == AUGMENTATIONS.keys()
    assert len(set(TAGS.values())) == len(TAGS) and 0 not in TAGS.values()
    assert all(set(names) <= AUGMENTATIONS.keys() for names in PRESETS.values())


def test_names_are_read_in_the_order_of_the_table():
    assert read_augment("colour, crop,flip").names == ("crop", "flip", "colour")
    assert read_augment("light").names == ("crop", "flip")
    assert read_augment("light,erase,flip").names == ("crop", "flip", "erase")
    assert set(read_augment("strong").names) > set(read_augment("light").names)
    assert str(read_augment("light")) == "crop, flip (anew in each epoch)"
    assert str(read_augment("flip", views=4)) == "flip (in 4 views)"


def test_unknown_names_list_the_closest():
    with pytest.raises(UnknownName, match="did you mean 'flip'"):
        read_augment("crop,flipp")
    with pytest.raises(InputError, match="graft list augmentations"):
        read_augment(" , ")


def test_views_of_epochs():
    endless, three = Augment(("flip",)), Augment(("flip",), views=3)
    seen = [endless.view_of(p, e) for p in range(3) for e in range(50)]
    assert len(set(seen)) == 150 and 0 not in seen
    assert [three.view_of(0, e) for e in range(5)] == [1, 2, 3, 1, 2]
    # one epoch a phase, as in gradual unfreezing, still sees all of them
    assert {three.view_of(phase, 0) for phase in range(3)} == {1, 2, 3}


@pytest.mark.parametrize("name", [n for n in AUGMENTATIONS if n != "crop"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_each_changes_some_pictures_and_keeps_their_kind(name, mode):
    plain = np.asarray(picture(mode))
    views = [changed(name, view=view, mode=mode) for view in range(1, 30)]
    assert all(v.shape == plain.shape and v.dtype == np.uint8 for v in views)
    if (name, mode) == ("grey", "L"):
        assert all(np.array_equal(v, plain) for v in views)
        return
    n_same = sum(np.array_equal(v, plain) for v in views)
    assert n_same < len(views)
    assert (n_same > 0) == (name in ("flip", "grey", "erase"))


@pytest.mark.parametrize("name", [n for n in AUGMENTATIONS if n != "crop"])
def test_pure_in_seed_view_and_row(name):
    def all_of(**words):
        return [changed(name, **{"view": v, **words}).tobytes() for v in range(1, 31)]

    assert all_of() == all_of()
    assert all_of() != all_of(seed=1)
    assert all_of() != all_of(row=1)
    assert len(set(all_of())) > 1


def test_one_augmentation_does_not_change_the_draws_of_another():
    alone, among = Augment(("crop",)), Augment(("crop", "rotate", "flip", "colour"))
    assert alone.box(50, 40, 3, 2) == among.box(50, 40, 3, 2)


def test_planes_of_many_channels_change_alike():
    planes = [picture("L")] * 4
    found = read_augment("rotate,flip,colour,grey,erase").change(planes, 3, 5)
    assert len({np.asarray(p).tobytes() for p in found}) == 1


@pytest.mark.parametrize("size", [(336, 224), (50, 50), (1, 1), (400, 3), (2, 90)])
def test_crops_lie_inside_and_have_their_share(size):
    width, height = size
    random = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = crop(width, height, random)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        if min(size) >= 50:
            w, h = right - left, bottom - top
            assert AREAS[0] * 0.95 <= w * h / (width * height) <= 1
            assert RATIOS[0] * 0.95 <= w / h <= RATIOS[1] * 1.05


def test_no_crop_shows_all():
    assert Augment(("flip",)).box(10, 10, 0, 1) is None
