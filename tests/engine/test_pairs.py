"""Streams of pairs: rows go together, and what is frozen is stored once an item and tower."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from graft.backbones.image_network import _channels_last
from graft.backbones.transformers_image import _read_logits, read_pooler
from graft.engine.feeds import find_feeds
from graft.engine.groups import locate, resolve
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.engine.stores import _named, identity
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import everything, head, named, state
from tests.engine.enemies import pair_streams

TOP = (Rule(head(), 1e-2), Rule(state(), 1e-2))
REST = Rule(everything(), None)
BY = Gradient(epochs=3, batch_size=4)


def go(scene, rules, by=BY, **settings):
    plan = Plan((Phase("phase", rules, by),))
    streams = {"train": scene.streams}
    return run(plan, scene.model, scene.task, streams, state=scene.state,
               settings=Settings(**settings))  # fmt: skip


def test_a_step_takes_the_same_rows_of_both_streams():
    scene = pair_streams()
    go(scene, (*TOP, REST))
    steps = scene.task.seen[-18:]  # three epochs of three steps, each stream once
    for (images, _), (texts, _) in zip(steps[::2], steps[1::2], strict=True):
        assert images.tolist() == texts.tolist()


def test_micro_batches_give_the_steps_of_the_whole():
    whole, parts = pair_streams(), pair_streams()
    go(whole, (*TOP, REST))
    go(parts, (*TOP, REST), replace(BY, micro_batch_size=2))
    ours = parts.model.state_dict() | parts.state.state_dict()
    for name, value in (whole.model.state_dict() | whole.state.state_dict()).items():
        torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=1e-5)


def test_a_picture_with_three_captions_is_computed_once(tmp_path):
    scene = pair_streams()
    [record] = go(scene, (*TOP, REST), cache=tmp_path)
    assert record.cache.used
    assert record.cache.n_computed == 4 + 12, "four pictures and twelve captions"
    assert len(list(tmp_path.iterdir())) == 2, "one store a tower"


def test_what_trains_in_one_tower_does_not_change_the_key_of_the_other():
    scene = pair_streams()

    def key_of_images(rules):
        groups = resolve(rules, locate(scene.model, scene.state))
        feeds = find_feeds(scene.model, scene.state, scene.task, groups, scene.streams)
        frozen = frozenset(m.place.name for g in groups if g.rule.lr is None for m in g.members)
        return identity(scene.model, scene.task, frozen, feeds.replays["image"])

    both_locked = key_of_images((*TOP, REST))
    assert key_of_images((*TOP, Rule(named("text.*"), 1e-3), REST)) == both_locked
    with torch.no_grad():
        next(scene.model.text.parameters()).add_(1.0)
    assert key_of_images((*TOP, REST)) == both_locked
    with torch.no_grad():
        next(scene.model.image.parameters()).add_(1.0)
    assert key_of_images((*TOP, REST)) != both_locked


def test_a_locked_tower_is_read_from_its_store_alone(tmp_path):
    rules = (*TOP, Rule(named("text.*"), 1e-3), REST)

    def pictures_read(cache):
        scene, n_read = pair_streams(), []
        images = scene.streams["image"].items
        of_stream = images.batch

        def counted(rows, **options):
            batch = of_stream(rows, **options)
            n_read.extend(rows if "x" in batch.inputs else [])
            return batch

        images.batch = counted
        before = {k: v.clone() for k, v in scene.model.image.state_dict().items()}
        go(scene, rules, cache=cache)
        after = scene.model.image.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before)
        return len(n_read)

    filled, known, unstored = (pictures_read(c) for c in (tmp_path, tmp_path, None))
    # one more group shows that places in a group make no difference
    assert filled - known == 2 * 4, "each picture once, to fill the store"
    assert unstored >= known + 3 * 12, "every row of three epochs"


def test_a_way_to_read_has_the_same_name_in_every_process():
    name = _named(partial(_channels_last, read_pooler))
    assert " at 0x" not in name
    assert name != _named(partial(_channels_last, _read_logits))
