"""Specs of the cleaning steps. A profile is a list of them; the kind is the name of the step in every count and report.

`version` is raised whenever a step would answer otherwise than before for the same document and spec: what was done with an older
version is done again. Lengths are in characters, words are eojeol (what stands between white space): English thresholds do not fit Korean.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from malmoi.core.spec import Spec
from malmoi.corpus.reading.spec import ReadingSpec


class RepairSpec(Spec):
    """Mojibake is undone line by line; a line that cannot be repaired is taken out, a document with too many of them goes."""

    version: ClassVar[int] = 1
    kind: Literal["repair"] = "repair"
    replacement: Annotated[float, Field(ge=0, le=1)] = 0.001
    """Largest share of U+FFFD among the characters of a line."""
    mojibake: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Largest share of characters that still look like mojibake in a line after repair."""
    broken: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Largest share of a document's characters that may be taken out."""


class NormalizeSpec(Spec):
    """NFC; control and zero-width characters; white space; letters, ㅋㅎㅠㅜ and marks (never digits) that are repeated."""

    version: ClassVar[int] = 1
    kind: Literal["normalize"] = "normalize"
    repeats: Annotated[int, Field(ge=0)] = 3
    """Longest run of one such character that stays; 0 leaves runs alone."""
    marks: Annotated[int, Field(ge=1)] = 8
    """Longest run of combining marks that stays."""


class NoiseSpec(Spec):
    """The noise of web pages and of news: hashtags, tags, copyright lines, empty brackets, lines of reporters and of the press (KLUE;
    Park et al. 2021, section 2.2)."""

    version: ClassVar[int] = 1
    kind: Literal["noise"] = "noise"
    news: bool = False
    """Also reporters' and press lines."""


class LanguageSpec(Spec):
    """The share of a script among the letters, or what a language identifier says (extra `lid`)."""

    version: ClassVar[int] = 1
    kind: Literal["language"] = "language"
    language: Literal["ko", "en"] = "ko"
    minimum: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Smallest share of Hangul (ko) or Latin (en) among the letters."""
    identifier: Literal["script", "model"] = "script"


class ForeignSpec(Spec):
    """Long runs of Chinese or Japanese characters are flagged (hanja is legitimate in history and law), or removed."""

    version: ClassVar[int] = 1
    kind: Literal["foreign"] = "foreign"
    run: Annotated[int, Field(ge=1)] = 10
    action: Literal["flag", "remove"] = "flag"


class LengthSpec(Spec):
    """Documents that are too short or too long."""

    version: ClassVar[int] = 1
    kind: Literal["length"] = "length"
    characters: Annotated[int, Field(ge=0)] = 50
    words: Annotated[int, Field(ge=0)] = 5
    largest: Annotated[int, Field(ge=1)] = 2_000_000
    """Characters of the longest document that stays."""


class SymbolsSpec(Spec):
    """Documents that are not prose: too few letters, too many marks and digits, words that are far too long."""

    version: ClassVar[int] = 1
    kind: Literal["symbols"] = "symbols"
    letters: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Smallest share of letters among the characters that are not white space."""
    word: Annotated[float, Field(gt=0)] = 20.0
    """Largest mean length of a word."""


class RepetitionSpec(Spec):
    """Documents that say the same again and again (Rae et al. 2021, Gopher, table A1; over lines and n-grams of words)."""

    version: ClassVar[int] = 1
    kind: Literal["repetition"] = "repetition"
    lines: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Largest share of characters in lines that occurred before in the document."""
    ngram: Annotated[int, Field(ge=2)] = 10
    """Words of an n-gram."""
    ngrams: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Largest share of words in n-grams that occurred before in the document."""


class BlocklistSpec(Spec):
    """Documents with words that you do not want."""

    version: ClassVar[int] = 1
    kind: Literal["blocklist"] = "blocklist"
    words: tuple[str, ...] = ()
    file: str = ""
    """A file with one word a line, read when the step is made; its content is part of the fingerprint."""
    times: Annotated[int, Field(ge=1)] = 1
    """Occurrences from which on a document goes."""


class ExactSpec(Spec):
    """Documents whose text, but for white space and case, occurred before; of each set the first stays."""

    version: ClassVar[int] = 1
    kind: Literal["exact"] = "exact"


class NearSpec(Spec):
    """Near duplicates by MinHash over the character n-grams of letters and digits (Broder 1997), banded; of those alike the first stays."""

    version: ClassVar[int] = 1
    kind: Literal["near"] = "near"
    ngram: Annotated[int, Field(ge=2)] = 5
    bands: Annotated[int, Field(ge=1)] = 14
    rows: Annotated[int, Field(ge=1)] = 8
    """Hashes in a band: two documents of similarity s share a band with probability 1 - (1 - s^rows)^bands."""
    similarity: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Smallest share of n-grams in common (Jaccard), estimated from all hashes of two documents that share a band, for the later to go."""


class ParagraphsSpec(Spec):
    """Lines that occurred in earlier documents (menus, footers) are taken out; the first of each stays."""

    version: ClassVar[int] = 1
    kind: Literal["paragraphs"] = "paragraphs"
    characters: Annotated[int, Field(ge=1)] = 30
    """Shortest line that is looked at."""
    times: Annotated[int, Field(ge=2)] = 3
    """Documents that must hold a line for it to be taken out of all but the first."""


class DecontaminateSpec(Spec):
    """Documents that hold text of evaluation sets: n-grams of words, and texts of 4 words or more that are shorter than an n-gram."""

    version: ClassVar[int] = 1
    kind: Literal["decontaminate"] = "decontaminate"
    files: tuple[str, ...] = ()
    """.txt, .tsv, .csv, .json, .jsonl or .parquet of any task: every text in them. Their content is part of the fingerprint."""
    ngram: Annotated[int, Field(ge=2)] = 8
    """Words of an n-gram that both hold (13 for English in Brown et al. 2020, appendix C; eojeol are longer)."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.0001
    """Share of a document's n-grams from which on it goes."""


PersonalType = Literal["email", "url", "ip", "phone", "resident", "passport", "driver", "business", "card", "handle"]


class PersonalSpec(Spec):
    """Personal data is replaced by typed placeholders such as [EMAIL]."""

    version: ClassVar[int] = 1
    kind: Literal["personal"] = "personal"
    types: tuple[PersonalType, ...] = (
        "email",
        "url",
        "ip",
        "phone",
        "resident",
        "passport",
        "driver",
        "business",
        "card",
        "handle",
    )


class QualitySpec(Spec):
    """A classifier of character n-grams, trained from your good and bad samples; in no profile."""

    version: ClassVar[int] = 1
    kind: Literal["quality"] = "quality"
    good: str = ""
    """A file, a folder or a glob of documents as they should be; its content is part of the fingerprint. `bad` likewise."""
    bad: str = ""
    minimum: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Smallest probability of being good."""
    document: Literal["paragraph", "line", "file"] = "line"
    """What one document is in plain text of `good` and `bad`; best what one document is in the corpus."""
    field: str = "text"
    """The field of a JSON object, or the column of a table, in `good` and `bad`."""
    order: Annotated[int, Field(ge=1, le=8)] = 3
    """Characters of the longest n-gram."""
    bits: Annotated[int, Field(ge=8, le=24)] = 18
    """2^bits weights; n-grams share them by hash."""
    characters: Annotated[int, Field(ge=1)] = 1000
    """Only so many characters at the beginning of a document are read."""
    sample: Annotated[int, Field(ge=20)] = 10_000
    """Most documents of each side in training."""
    penalty: Annotated[float, Field(gt=0)] = 1e-4
    """Weight of the squared weights beside the mean loss."""


Local = (
    RepairSpec
    | NormalizeSpec
    | NoiseSpec
    | LanguageSpec
    | ForeignSpec
    | LengthSpec
    | SymbolsSpec
    | RepetitionSpec
    | BlocklistSpec
    | DecontaminateSpec
    | PersonalSpec
    | QualitySpec
)
"""Steps that look at one document."""
Global = ExactSpec | NearSpec | ParagraphsSpec
"""Steps that look at all documents. In a profile they stand side by side: what is before them is done for every document, what is after
them for those that are left."""
StepSpec = Annotated[Local | Global, Field(discriminator="kind")]


class CorpusSpec(Spec):
    """A whole cleaning: reading, steps, and the shares of documents that are set apart."""

    profile: str
    reading: ReadingSpec = ReadingSpec()
    steps: tuple[StepSpec, ...]
    valid: Annotated[float, Field(ge=0, lt=1)] = 0.005
    test: Annotated[float, Field(ge=0, lt=1)] = 0.005
