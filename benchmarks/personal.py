"""How much personal data is found on the labelled file, how much of what is found is right, and how fast?

    python benchmarks/personal.py --corpus /tmp/wiki/ko/train.txt

Recall and precision by type on `tests/corpus/steps/personal_cases.jsonl` (exact spans and types; invented data), what was missed, MB/s on
the text (documents are paragraphs), findings by type there, and microseconds for a short review. Times are of the processor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import RESULTS, finish

from malmoi.corpus import Document
from malmoi.corpus.steps.personal import PLACEHOLDERS, find, personal
from malmoi.corpus.steps.spec import PersonalSpec

CASES = Path(__file__).resolve().parents[1] / "tests/corpus/steps/personal_cases.jsonl"
REVIEW = "배우들 연기가 정말 좋았고 이야기도 끝까지 지루하지 않았습니다. 10점 만점에 9점!!"


def accuracy() -> dict[str, Any]:
    """Recall and precision, overall and by type, with what was missed and what was found wrongly."""
    hits, missed, false = Counter[str](), Counter[str](), Counter[str]()
    wrong: dict[str, list[str]] = {"missed": [], "false": []}
    cases = [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]
    for case in cases:
        gold = {tuple(span[:3]) for span in case["spans"]}
        found = {(span.type, span.begin, span.end) for span in find(case["text"])}
        for name, tally, spans in (("", hits, gold & found), ("missed", missed, gold - found), ("false", false, found - gold)):
            tally.update(type for type, _, _ in spans)
            if name:
                wrong[name] += [f"{type}: {case['text'][begin:end]}" for type, begin, end in sorted(spans)]
    by_type = {type: rates(hits[type], missed[type], false[type]) for type in PLACEHOLDERS}
    return {"lines": len(cases), "all": rates(hits.total(), missed.total(), false.total()), "by_type": by_type, **wrong}


def rates(hits: int, missed: int, false: int) -> dict[str, float]:
    """Recall, precision, and how many labels there were."""
    return {"labels": hits + missed, "recall": round(hits / (hits + missed), 4), "precision": round(hits / max(1, hits + false), 4)}


def speed(text: Path, *, times: int = 3) -> dict[str, Any]:
    """MB of UTF-8 a second over the paragraphs of `text` (the best of some passes), and what was found by type."""
    content = text.read_text("utf-8")
    documents = [Document(str(number), part) for number, part in enumerate(content.split("\n\n")) if part.strip()]
    step, seconds = personal(PersonalSpec()), []
    for _ in range(times):
        began = time.process_time()
        changes = [step(document) for document in documents]
        seconds.append(time.process_time() - began)
    counts = Counter[str]()
    for change in changes:
        counts.update(getattr(change, "counts", {}))
    size = len(content.encode())
    return {"bytes": size, "documents": len(documents), "MB_s": round(size / 1e6 / min(seconds), 1), "found": dict(counts)}


def microseconds(text: str, *, times: int = 20_000, repeats: int = 7) -> float:
    """Of one document, the best of some passes."""
    step, document, seconds = personal(PersonalSpec()), Document("review", text), []
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(times):
            step(document)
        seconds.append(time.process_time() - began)
    return round(min(seconds) / times * 1e6, 2)


def main() -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=RESULTS / "personal.json")
    arguments = parser.parse_args()
    texts = {path.parent.name + "/" + path.name: speed(path) for path in arguments.corpus}
    finish("personal", {"labelled": accuracy(), "texts": texts, "microseconds_a_review": microseconds(REVIEW)}, arguments.out)


if __name__ == "__main__":
    main()
