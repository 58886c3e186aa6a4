"""The Python in the documentation runs, page by page, from the root of the repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "rooms").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_there_are_pages():
    assert len(PAGES) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks, f"{page.name} shows no code"
    names: dict = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)  # noqa: S102 - our own pages
    assert capsys.readouterr().out.strip(), "what it prints is what a reader looks at"
