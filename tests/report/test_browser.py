"""In a real browser: all figures are drawn, nothing is asked for, and nothing from data runs."""

from __future__ import annotations

import pytest

from graft.report.page import render
from tests.report.browser import Browser, find_chromium
from tests.report.specimens import HOSTILE, KINDS, classify

pytestmark = pytest.mark.slow

COLOUR_OF_BODY = "getComputedStyle(document.body).backgroundColor"
FIRST_LABEL = "document.querySelector('.chart svg text').getAttribute('fill')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("needs a Chromium to look at the page with")
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for kind, make in KINDS.items():
        (folder / f"{kind}.html").write_text(render(*make(), name=HOSTILE[0]), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "kind", ["classify", "multilabel", "regress", "many classes", "embed", "scored"]
)
def test_page_is_drawn_and_quiet(browser, folder, kind):
    browser.open(folder / f"{kind}.html")
    n_figures = browser.ask("document.querySelectorAll('[data-chart]').length")
    assert n_figures > 3
    assert browser.ask("document.querySelectorAll('.chart > svg, .chart svg').length") >= n_figures
    empty = "[...document.querySelectorAll('.chart')].filter(c => !c.querySelector('svg path'))"
    assert browser.ask(f"{empty}.map(c => c.dataset.chart).join()") == ""
    assert browser.trouble() == []
    asked = [url for url in browser.requests() if not url.startswith(("file:", "data:"))]
    assert asked == []
    assert browser.ask("document.querySelectorAll('img[onerror], svg[onload]').length") == 0


@pytest.mark.parametrize("kind", ["classify", "embed"])
@pytest.mark.parametrize("width", [390, 1600])
def test_page_fits_its_window(browser, folder, width, kind):
    browser.open(folder / f"{kind}.html", width=width)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    widest = "Math.max(...[...document.querySelectorAll('.chart svg')].map(s => s.clientWidth))"
    assert 200 < browser.ask(widest) <= width


def test_colours_follow_the_reader(browser, folder):
    seen = []
    for scheme in ("light", "dark"):
        browser.open(folder / "classify.html", scheme=scheme)
        seen.append((browser.ask(COLOUR_OF_BODY), browser.ask(FIRST_LABEL)))
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_a_figure_that_fails_leaves_the_others_alone(browser, folder):
    page = render(*classify())
    marks = page.index('id="spec-confusion">') + len('id="spec-confusion">')
    (folder / "fails.html").write_text(f"{page[:marks]}[{page[marks:]}", encoding="utf-8")
    browser.open(folder / "fails.html")
    n_figures = browser.ask("document.querySelectorAll('[data-chart]').length")
    assert int(browser.ask("document.documentElement.dataset.drawn")) == n_figures - 1
    assert browser.ask("document.querySelector('[data-chart=confusion]').textContent") == (
        "This figure cannot be drawn."
    )
    assert browser.ask("document.querySelectorAll('.chart svg').length") == n_figures - 1


def test_the_policy_stops_what_would_get_through(browser, folder):
    """The second lock: even a script that stood in the page would not run."""
    page = render(*classify())
    broken = page.replace("<main>", "<main><script>window.ran = true</script>", 1)
    broken = broken.replace("<main>", '<main><img src="x:y" onerror="window.ran = true">', 1)
    (folder / "broken.html").write_text(broken, encoding="utf-8")
    browser.open(folder / "broken.html")
    assert browser.ask("window.ran === undefined") is True
    assert browser.trouble() != []
