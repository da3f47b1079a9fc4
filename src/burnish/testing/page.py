"""What a page of HTML would fetch. Knows no method."""

from __future__ import annotations

from html.parser import HTMLParser


def fetched(text: str) -> list[str]:
    """Every address, outside a link's own, that a browser would ask for to show the page ``text``."""
    page = _Page()
    page.feed(text)
    return page.fetched


class _Page(HTMLParser):
    """What a page would fetch: every address outside a link's own, the names of XML, and plain text.

    A picture that lies in the page itself (``data:image/``) is no address, whatever its letters spell.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self._code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element: its attributes."""
        self._code = tag in ("script", "style")
        for name, value in attrs:
            inside = name.startswith(("xmlns", "rdf:")) or (tag == "a" and name == "href")
            inside |= (value or "").startswith("data:")  # the picture itself; base64 has slashes too
            if value and "//" in value and not inside and name not in ("data-label", "title", "alt"):
                self.fetched.append(f"{name}={value[:80]}")

    def handle_endtag(self, _tag: str) -> None:
        """The end of an element."""
        self._code = False

    def handle_data(self, data: str) -> None:
        """Text; in a script or a style sheet every address counts."""
        if self._code and "//" in data:
            self.fetched.append(data.strip()[:80])
