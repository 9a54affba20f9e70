"""Pages -> text: is the main text found, and how fast?

    python benchmarks/extraction.py --shared ../shared/data [--articles FOLDER]

Three collections with gold answers, each read by malmoi's two modes (bytes in, charset decided by `corpus.files.charset`, extraction in
a process of its own with its limits), and by the two libraries as they come, on the decoded text:

- trafilatura_eval: 990 pages with segments that must and must not appear, white space made equal; precision, recall, accuracy and F1 over
  all segments together, as trafilatura's own evaluation counts them (a page without text is a full miss).
- readability_pages: 130 pages with the text that Mozilla's Readability is expected to keep (`expected.html`, all of its text).
- FOLDER, a clone of scrapinghub/article-extraction-benchmark (181 pages, articleBody).

The last two are counted as scrapinghub does: shingles of four words (`\\w+`); of each page the share of shingles that both have among those
found (precision) and among those expected (recall), the mean over pages of each, and F1 of the two means.

MB a second is of bytes of the pages, over the processor time of the process that takes them apart (its start included) and by the clock.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from common import RESULTS, finish

from malmoi.corpus.files.charset import decode
from malmoi.corpus.pages.html import Extracted, Extractor
from malmoi.corpus.reading.spec import ReadingSpec

SYSTEMS = ("fast", "precise", "resiliparse", "trafilatura")


@dataclass(frozen=True)
class Page:
    """One page, and what is known about its text: `{"with": [...], "without": [...]}`, or the text itself."""

    data: bytes
    gold: Any


def trafilatura_pages(shared: Path, work: Path) -> list[Page]:
    """The annotated pages, in the order of their addresses."""
    for archive in sorted((shared / "trafilatura_eval").glob("*.tar.xz")):
        unpack(archive, work)
    items = json.loads((shared / "trafilatura_eval" / "evaldata.json").read_text(encoding="utf-8"))
    paths = {path.name: path for folder in ("eval", "cache") for path in (work / folder).iterdir()}  # as there: cache comes first
    return [Page(paths[item["file"]].read_bytes(), item) for _, item in sorted(items.items())]


def readability_pages(shared: Path, work: Path) -> list[Page]:
    """Mozilla's test pages."""
    from resiliparse.extract.html2text import extract_plain_text

    unpack(shared / "readability_pages" / "readability_test_pages.tar.xz", work)
    folders = sorted(path.parent for path in work.rglob("expected.html"))
    gold = [
        extract_plain_text((folder / "expected.html").read_text(encoding="utf-8"), alt_texts=False, list_bullets=False)
        for folder in folders
    ]
    return [Page((folder / "source.html").read_bytes(), text) for folder, text in zip(folders, gold, strict=True)]


def articles(folder: Path) -> list[Page]:
    """Scrapinghub's pages."""
    gold = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    return [Page(gzip.decompress((folder / "html" / f"{key}.html.gz").read_bytes()), gold[key]["articleBody"]) for key in sorted(gold)]


def unpack(archive: Path, folder: Path) -> None:
    """All of an archive that is trusted to stay below `folder`."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


@contextmanager
def system(name: str) -> Iterator[Callable[[bytes], str]]:
    """bytes -> text ("" where there is none)."""
    if name in ("fast", "precise"):
        with Extractor(ReadingSpec(extractor=name)) as extractor:  # type: ignore[arg-type]
            yield lambda data: of_extractor(extractor, data)
    elif name == "resiliparse":
        from resiliparse.extract.html2text import extract_plain_text

        yield lambda data: extract_plain_text(text_of(data), main_content=True)
    else:
        import trafilatura

        yield lambda data: trafilatura.extract(text_of(data), include_comments=False) or ""


def of_extractor(extractor: Extractor, data: bytes) -> str:
    """The text by one of malmoi's modes."""
    decoded = decode(data, declared=None, html=True)
    found = decoded and extractor.extract(data, charset=decoded.charset)
    return found.text if isinstance(found, Extracted) else ""


def text_of(data: bytes) -> str:
    """The page as text, "" where its charset is not known."""
    decoded = decode(data, declared=None, html=True)
    return decoded.text if decoded else ""


def squeezed(text: str) -> str:
    """White space made equal."""
    return re.sub(r"\s+", " ", text).strip()


def segments(pages: Sequence[Page], texts: Sequence[str]) -> dict[str, Any]:
    """Precision, recall, accuracy and F1 over all segments."""
    counts: Counter[str] = Counter()
    for page, text in zip(pages, texts, strict=True):
        found = squeezed(text)
        counts["tp"] += (there := sum(squeezed(segment) in found for segment in page.gold["with"]))
        counts["fp"] += (wrong := sum(squeezed(segment) in found for segment in page.gold["without"]))
        counts["fn"] += len(page.gold["with"]) - there
        counts["tn"] += len(page.gold["without"]) - wrong
    tp, fp, fn, tn = (counts[name] for name in ("tp", "fp", "fn", "tn"))
    scores = {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "accuracy": (tp + tn) / (tp + fp + fn + tn)}
    return {**rounded({**scores, "f1": 2 * tp / (2 * tp + fp + fn)}), **counts}


def shingles(pages: Sequence[Page], texts: Sequence[str]) -> dict[str, Any]:
    """Mean precision and recall of shingles, and their F1."""
    precisions, recalls = [], []
    for page, text in zip(pages, texts, strict=True):
        found, expected = ngrams(text), ngrams(page.gold)
        both = sum((found & expected).values())
        if found:
            precisions.append(both / found.total())
        if expected:
            recalls.append(both / expected.total())
    precision, recall = mean(precisions), mean(recalls)
    return rounded({"precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall)})


def ngrams(text: str, size: int = 4) -> Counter[tuple[str, ...]]:
    """Runs of `size` words; all words, if they are fewer."""
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1)) if words)


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Four places."""
    return {name: round(score, 4) for name, score in scores.items()}


def measure(name: str, pages: Sequence[Page], score: Callable[[Sequence[Page], Sequence[str]], dict[str, Any]]) -> dict[str, Any]:
    """Scores and speed of one system on one collection."""
    whose = resource.RUSAGE_CHILDREN if name in ("fast", "precise") else resource.RUSAGE_SELF
    clock, before = time.perf_counter(), resource.getrusage(whose)
    with system(name) as extract:
        texts = [extract(page.data) for page in pages]
    clock, after = time.perf_counter() - clock, resource.getrusage(whose)
    megabytes = sum(len(page.data) for page in pages) / 1e6
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    speed = {"MB_per_cpu_second": round(megabytes / processor, 1), "MB_per_second": round(megabytes / clock, 1)}
    return {"system": name, "pages": len(pages), "megabytes": round(megabytes, 1), **score(pages, texts), "empty": texts.count(""), **speed}


def main() -> None:
    """Every system on every collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="folder with trafilatura_eval and readability_pages")
    parser.add_argument("--articles", type=Path, help="clone of scrapinghub/article-extraction-benchmark")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--out", type=Path, default=RESULTS / "extraction.json")
    given = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as work:
        collections = [
            ("trafilatura_eval", trafilatura_pages(given.shared, Path(work, "trafilatura")), segments),
            ("readability_pages", readability_pages(given.shared, Path(work, "readability")), shingles),
        ]
    if given.articles:
        collections.append(("scrapinghub_articles", articles(given.articles), shingles))
    for name, pages, score in collections:
        results[name] = [measure(each, pages, score) for each in given.systems]
    finish("extraction", results, given.out)


if __name__ == "__main__":
    main()
