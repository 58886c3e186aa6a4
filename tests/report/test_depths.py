"""The picture of the depths: well-formed, one bar per depth, the chosen one marked."""

from __future__ import annotations

from xml.etree import ElementTree

from graft.phase_records import DepthRecord
from graft.report.depths import LEFT, RIGHT, draw_depths

SVG = "{http://www.w3.org/2000/svg}"
DEPTHS = (
    DepthRecord("block 0", 8, 0.5, 0.9, 0.1),
    DepthRecord("block 1", 8, 0.75, 0.6, 0.1, chosen=True),
    DepthRecord("features", 6, 0.7, 0.7, 0.1),
)


def test_one_bar_for_each_depth_as_long_as_its_accuracy():
    root = ElementTree.fromstring(draw_depths(DEPTHS))
    widths = [float(r.get("width")) for r in root.iter(f"{SVG}rect")]
    assert widths == [round((RIGHT - LEFT) * d.accuracy, 1) for d in DEPTHS]
    [chosen] = [g for g in root.iter(f"{SVG}g") if g.get("class") == "chosen"]
    assert "block 1" in [t.text for t in chosen.iter(f"{SVG}text")]
    assert "reads block 1" in root.find(f"{SVG}title").text


def test_losses_where_there_is_no_accuracy():
    numbers = [DepthRecord(f"block {i}", 4, None, loss, 1.0) for i, loss in enumerate((2.0, 1.0))]
    root = ElementTree.fromstring(draw_depths(numbers))
    widths = [float(r.get("width")) for r in root.iter(f"{SVG}rect")]
    assert widths == [RIGHT - LEFT, (RIGHT - LEFT) / 2]


def test_names_stay_text_and_both_themes_are_served():
    picture = draw_depths([DepthRecord("<b> & co", 4, 1.0, 0.0, 1.0)])
    assert "<b>" not in picture
    ElementTree.fromstring(picture)
    assert "prefers-color-scheme: dark" in picture
