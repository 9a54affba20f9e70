"""Wikipedia excerpts (WikiExtractor's output) -> OUT/train.txt and OUT/valid.txt: one article a paragraph, blank lines between.

    python benchmarks/wiki_text.py ../shared/data/enwiki_excerpt /tmp/wiki/en

SOURCE is an archive (.tar.xz), a folder that holds one, or a folder of unpacked files. The empty redirects and the title lines
are dropped, an article's own paragraphs become the lines of its document, entities are unescaped, and what is left of
templates stays as it is. The articles of every 20th file (files in order of their names) are held out: valid.txt. The same input gives
the same bytes.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

HELD_OUT = 20
BLOCK = re.compile(r"<doc [^>]*?title=\"(?P<title>.*?)\">\n(?P<text>.*?)\n?</doc>", re.DOTALL)


def files(source: Path) -> Iterator[tuple[str, str]]:
    """(name, content) of every extracted file, in order of names."""
    archives = sorted(source.glob("*.tar.xz")) if source.is_dir() else [source]
    if archives:
        found: dict[str, bytes] = {}
        for archive in archives:
            with tarfile.open(archive, "r:xz") as tar:
                for member in tar:
                    if member.isfile():
                        content = tar.extractfile(member)
                        assert content is not None
                        found[member.name] = content.read()
        yield from ((name, found[name].decode("utf-8")) for name in sorted(found))
    else:
        paths = sorted(path for path in source.rglob("wiki_*") if path.is_file())
        yield from ((path.relative_to(source).as_posix(), path.read_text(encoding="utf-8")) for path in paths)


def articles(content: str) -> Iterator[str | None]:
    """Each block's article, its paragraphs as lines; None for a block without text (a redirect)."""
    for block in BLOCK.finditer(content):
        title = html.unescape(block["title"]).strip()
        # twice: the extractor escaped what the wiki source had escaped already
        lines = [line.strip() for line in html.unescape(html.unescape(block["text"])).splitlines()]
        lines = [line for line in lines if line]
        if lines and lines[0] == title:
            lines = lines[1:]
        yield "\n".join(lines) if lines else None


def convert(source: Path, out: Path) -> dict[str, dict[str, int]]:
    """Write both files; counts of each: files, blocks, documents, words (by whitespace), bytes."""
    out.mkdir(parents=True, exist_ok=True)
    counts = {name: {"files": 0, "blocks": 0, "documents": 0, "words": 0, "bytes": 0} for name in ("train", "valid")}
    with open(out / "train.txt", "w", encoding="utf-8") as train, open(out / "valid.txt", "w", encoding="utf-8") as valid:
        for index, (_, content) in enumerate(files(source)):
            name, file = ("valid", valid) if index % HELD_OUT == 0 else ("train", train)
            count = counts[name]
            count["files"] += 1
            for article in articles(content):
                count["blocks"] += 1
                if article is not None:
                    file.write(article + "\n\n")
                    count["documents"] += 1
                    count["words"] += len(article.split())
    for name, count in counts.items():
        count["bytes"] = (out / f"{name}.txt").stat().st_size
    return counts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    print(json.dumps(convert(arguments.source, arguments.out), indent=1))


if __name__ == "__main__":
    main()
