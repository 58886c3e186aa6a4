"""The page as a tree of elements, read by the standard library's parser as a browser would."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass
class Element:
    """Hold one element: its name, attributes and the text directly in it."""

    name: str
    attributes: dict[str, str | None]
    inside: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Read a page; unclosed elements are a fault."""

    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag, attrs):
        inside = tuple(e.name for e in self.stack)
        element = Element(tag, dict(attrs), inside)
        self.elements.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1].name == tag, f"</{tag}> closes {self.stack[-1:]}"
        self.stack.pop()

    def handle_data(self, data):
        if self.stack:
            self.stack[-1].text += data

    def named(self, name):
        return [e for e in self.elements if e.name == name]

    def text(self):
        """Return all text that is shown."""
        shown = (e.text for e in self.elements if e.name not in ("script", "style"))
        return " ".join(" ".join(shown).split())


def parse(text):
    page = Page()
    page.feed(text)
    page.close()
    assert not page.stack, f"left open: {page.stack}"
    return page
