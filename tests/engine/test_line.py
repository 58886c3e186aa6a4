"""Lines through measured points, whatever the noise."""

from __future__ import annotations

import numpy as np
import pytest

from graft.engine.line import Line, fit_line, spread


def test_lines():
    assert fit_line([10, 20, 30], [3.0, 5.0, 7.0]) == Line(pytest.approx(1.0), pytest.approx(0.2))
    assert fit_line([5], [2.0]) == Line(2.0, 0.0)
    assert fit_line([1, 2], [2.0, 1.0]) == Line(1.5, 0.0), "faster with more is noise"
    assert fit_line([1, 10], [0.1, 10.0]) == Line(0.0, pytest.approx(10.1 / 11))
    assert Line(1.0, 0.5).total(np.asarray([2, 4])) == 5.0


def test_spread_holds_the_last():
    for n in range(1, 12):
        for n_wanted in (1, 3, 6):
            found = spread(n, n_wanted)
            assert found[-1] == n - 1 or n_wanted == 1
            assert len(found) == min(n, n_wanted)
