"""Profiles: what is done to a kind of text, as the list of steps with their parameters, in order. Each returns a CorpusSpec.

What stands before the global steps (exact, near, paragraphs) is done for every document; what stands after them, for those that are left.
"""

from __future__ import annotations

from collections.abc import Callable

from malmoi.core.errors import MalmoiError, nearest
from malmoi.corpus.steps.spec import (
    CorpusSpec,
    ExactSpec,
    ForeignSpec,
    LanguageSpec,
    LengthSpec,
    NearSpec,
    NoiseSpec,
    NormalizeSpec,
    ParagraphsSpec,
    PersonalSpec,
    RepairSpec,
    RepetitionSpec,
    SymbolsSpec,
)


def web_ko() -> CorpusSpec:
    """Korean web pages, forums and comments."""
    return CorpusSpec(
        profile="web-ko",
        steps=(
            RepairSpec(),
            NormalizeSpec(),
            NoiseSpec(),
            LengthSpec(characters=10, words=1),  # as KcBERT; people write whole sentences without a space
            LanguageSpec(language="ko"),
            ForeignSpec(),
            SymbolsSpec(letters=0.4, word=40),
            RepetitionSpec(),
            ExactSpec(),
            NearSpec(),
            ParagraphsSpec(),
            PersonalSpec(),
        ),
    )


def web_en() -> CorpusSpec:
    """English web pages."""
    return CorpusSpec(
        profile="web-en",
        steps=(
            RepairSpec(),
            NormalizeSpec(),
            NoiseSpec(),
            LengthSpec(characters=100, words=20),
            LanguageSpec(language="en", minimum=0.5),
            SymbolsSpec(letters=0.6, word=12),
            RepetitionSpec(),
            ExactSpec(),
            NearSpec(),
            ParagraphsSpec(),
            PersonalSpec(),
        ),
    )


def news_ko() -> CorpusSpec:
    """Korean news: as web-ko, and the lines of reporters and of the press are taken out."""
    web = web_ko()
    steps = tuple(
        NoiseSpec(news=True) if step.kind == "noise" else LengthSpec(characters=100, words=20) if step.kind == "length" else step
        for step in web.steps
    )
    return web.model_copy(update={"profile": "news-ko", "steps": steps})


def plain() -> CorpusSpec:
    """Text that is already clean: encoding, white space, and documents that occur again."""
    return CorpusSpec(profile="plain", steps=(RepairSpec(), NormalizeSpec(repeats=0), LengthSpec(characters=1, words=1), ExactSpec()))


PROFILES: dict[str, Callable[[], CorpusSpec]] = {"web-ko": web_ko, "web-en": web_en, "news-ko": news_ko, "plain": plain}


def profile(name: str) -> CorpusSpec:
    """The profile called `name`. Raises MalmoiError M009 for a name that is not there."""
    if name not in PROFILES:
        raise MalmoiError(
            "M009",
            argument="--profile",
            value=name,
            problem="there is no such profile" + nearest(name, PROFILES),
            next="use " + ", ".join(PROFILES) + ".",
        )
    return PROFILES[name]()
