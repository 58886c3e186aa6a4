"""Law: facts ↔ JSON is the identity."""

from __future__ import annotations

import pytest

from graft.report.facts import Facts
from graft.serial import from_json, to_json
from tests.report.specimens import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind):
    _, facts = KINDS[kind]()
    text = to_json(facts, indent=None)
    assert to_json(from_json(Facts, text), indent=None) == text
    assert "\n" not in text


def test_values_come_back():
    _, facts = KINDS["classify"]()
    again = from_json(Facts, to_json(facts))
    assert again.map == facts.map
    assert again.mistakes == facts.mistakes
    assert again.confused == facts.confused
