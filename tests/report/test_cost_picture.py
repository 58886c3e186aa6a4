"""The picture of costs: every method stands in it, inside it, and names do not cover each other."""

from __future__ import annotations

import re

import pytest

from graft.report.cost_picture import HEIGHT, WIDTH, Spot, draw_costs


def spots(n: int) -> list[Spot]:
    return [
        Spot(f"method {i}", 10.0 + i, 0.8 + 0.001 * i, 0.78, 0.83, "close") for i in range(n - 1)
    ] + [Spot("<b>", 3000.0, 0.7, 0.65, 0.75, "taken")]


@pytest.mark.parametrize("n", [1, 2, 9])
def test_everything_stands_inside_and_names_apart(n):
    picture = draw_costs(spots(n), metric="accuracy", title="a <title>")
    assert "<b>" not in picture
    assert "&lt;b&gt;" in picture
    names = re.findall(
        r'<text x="([\d.]+)" y="([\d.]+)"( text-anchor="end")?>([^<]+)</text>', picture
    )
    assert len(names) == n
    boxes = []
    for x, y, end, name in names:
        width = 7.5 * len(name.replace("&lt;", "<").replace("&gt;", ">"))
        begin = float(x) - width if end else float(x)
        assert begin >= 0 and begin + width <= WIDTH
        assert 0 <= float(y) <= HEIGHT
        boxes.append((begin, begin + width, float(y)))
    for i, (left, right, y) in enumerate(boxes):
        for other_left, other_right, other_y in boxes[:i]:
            assert abs(y - other_y) >= 15.9 or right < other_left or other_right < left
    for value in re.findall(r'c[xy]="([-\d.]+)"', picture):
        assert 0 <= float(value) <= WIDTH


def test_better_stands_higher_and_dearer_further_right():
    picture = draw_costs(
        [Spot("a", 1.0, 0.9, 0.85, 0.95, "taken"), Spot("b", 100.0, 0.6, 0.5, 0.7, "behind")],
        metric="accuracy",
        title="",
    )
    (ax, ay), (bx, by) = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture)
    assert float(ax) < float(bx)
    assert float(ay) < float(by)
    assert picture.count('class="taken"') == picture.count('class="behind"') == 1


def test_methods_that_are_all_perfect_are_drawn():
    spot = Spot("probe", 1.0, 1.0, 1.0, 1.0, "taken")
    assert ">probe<" in draw_costs([spot], metric="accuracy", title="perfect")


def test_what_the_untouched_network_is_worth_is_a_line_where_it_fits():
    spot = Spot("probe", 1.0, 0.7, 0.6, 0.8, "taken")
    inside = draw_costs([spot], metric="accuracy", title="t", untouched=0.9)
    [line] = re.findall(r'class="before" x1="\d+" x2="\d+" y1="([\d.]+)"', inside)
    [dot] = re.findall(r'<circle class="dot" cx="[\d.]+" cy="([\d.]+)"', inside)
    assert 0 <= float(line) < float(dot), "better is higher"
    for far in (-5.0, float("nan")):
        assert 'class="before"' not in draw_costs([spot], metric="r2", title="t", untouched=far)


@pytest.mark.parametrize(("seconds", "ticks"), [(5.0, "5 s"), (2.0, "2 s"), (40.0, "50 s")])
def test_seconds_are_told_wherever_the_spots_lie(seconds, ticks):
    spot = Spot("probe", seconds, 0.7, 0.6, 0.8, "taken")
    picture = draw_costs([spot], metric="accuracy", title="t")
    assert picture.count(" s</text>") >= 3
    assert f">{ticks}<" in picture
