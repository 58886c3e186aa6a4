"""What `auto` chooses, and that it says why."""

from __future__ import annotations

import pytest

from graft.methods.auto import Look, auto, decide
from graft.methods.body import lp_ft


@pytest.mark.parametrize(
    ("look", "method", "why"),
    [
        (Look(40, 2, 20, 0.8, 0.5), "probe", "40 training rows are too few"),
        (Look(300, 77, 3.5, 0.6, 0.5), "probe", "3.5 rows of a typical class are too few"),
        (Look(1000, 4, 250, 0.995, 0.9), "probe", "little to learn"),
        (Look(1000, 2, 500, 0.51, 0.001), "full", "what no features at all would get"),
        (Look(900, 2, 450, 0.51, 0.001), "probe", "too few to teach a body more"),
        (Look(1000, 4, 250, 0.8, 0.5), "lp-ft", "1,000 training rows are enough"),
        (Look(1000, 0, 1000, 0.4, 0.4), "lp-ft", "explains 0.400 of the variance"),
        (Look(1000, 0, 1000, 0.001, 0.001), "full", "has to learn"),
    ],
)
def test_each_rule(look, method, why):
    choice = decide(look)
    assert choice.method == method
    assert why in choice.because
    assert "." not in choice.because.replace("0.", "0").replace("3.5", "3")  # one sentence


def test_auto_is_a_method_like_the_others():
    assert auto(4, epochs=2) == lp_ft(4, epochs=2)
    assert [p.name for p in auto(4, look=Look(40, 2, 20, 0.8, 0.5), epochs=2).phases] == ["probe"]
