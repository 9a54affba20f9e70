"""HTML -> main text: what the child process does to one page."""

from __future__ import annotations

from typing import Any


def fast(page: str) -> dict[str, Any]:
    """Main text by resiliparse: fields of `Extracted`. The text is empty where there is none."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(page)
    text = extract_plain_text(
        tree, preserve_formatting=True, main_content=True, list_bullets=False, alt_texts=False, comments=False, post_meta=False
    )
    title = _line(tree.title or "")
    return {"text": paragraphs(text, title), "title": title, "extractor": "fast"}


def precise(page: str) -> dict[str, Any]:
    """Main text by trafilatura, or by `fast` where it finds nothing."""
    import trafilatura

    text = trafilatura.extract(page, favor_precision=True, include_comments=False) or ""
    if not text:
        return fast(page)
    other = fast(page)
    return {"text": paragraphs(text, other["title"]), "title": other["title"], "extractor": "precise"}


def paragraphs(text: str, title: str) -> str:
    """One paragraph a line, without blank lines, and without the title at the head."""
    lines = [line for line in map(_line, text.split("\n")) if line]
    return "\n".join(lines[1:] if lines and lines[0] == title else lines)


def _line(text: str) -> str:
    return " ".join(text.split())
