"""Corpus, vocabulary and shards: floods of <unk>, a vocabulary of another corpus, duplicates, empty documents, too little text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

import numpy as np

from malmoi.core.errors import MalmoiError
from malmoi.corpus import Document
from malmoi.health.finding import Finding
from malmoi.shards import Shards
from malmoi.vocab import UNK, Subwords, Vocabulary

UNKNOWN_LIMIT = 0.20
"""The limit at which `pretrain` stops too."""
DUPLICATES_WARNING = 0.05
"""Share of repeated documents. Web corpora hold 3 to 14 % near-duplicates (Lee et al. 2022, table 2) and are better without them."""
SMALL = 200_000
"""Words. A language model of words begins to beat counting at some hundred thousand."""
LINES = 2_000_000
"""Lines and documents that are remembered (16 bytes of hash each, about 200 MB)."""
WORDS = 20_000_000
"""Ids of shards that are counted."""
FALL_BACK = "take a vocabulary that falls back to bytes: subwords.algorithm=bpe, byte_bpe or unigram; or train it on this text."


def unknown_flood(rate: float, *, where: str, size: int, next: str) -> list[Finding]:
    """M101 if more than a fifth of the tokens are <unk>: an error, because such a model learns to predict <unk>."""
    if rate > UNKNOWN_LIMIT:
        return [Finding.of("M101", "error", rate=rate, where=where, size=size, limit=UNKNOWN_LIMIT, next=next)]
    return [Finding.good("unknown words", f"{rate:.2%} of the tokens in {where} are <unk> with {size:,} words")]


def size_of_text(tokens: int, *, what: str) -> list[Finding]:
    """M105 (warning) for a text on which little can be learned."""
    if tokens < SMALL:
        problem = f"fewer than {SMALL:,} words teach a language model little more than counting would"
        next = "fine for a trial; give more text for vectors of use."
        return [Finding.of("M105", "warning", what=what, tokens=tokens, problem=problem, next=next)]
    return [Finding.good("size", f"{what} has {tokens:,} tokens")]


class TextSurvey:
    """Counts over documents as they stream by: words, duplicates of documents and of lines."""

    def __init__(self, split: Callable[[str], list[str]]) -> None:
        self.split = split
        self.words: Counter[str] = Counter()
        self.documents, self.lines = _Repeats(), _Repeats()

    def read(self, documents: Iterable[Document]) -> TextSurvey:
        """Take in all documents."""
        for document in documents:
            self.words.update(self.split(document.text))
            self.documents.add(document.text)
            for line in document.text.splitlines():
                if line and not line.isspace():
                    self.lines.add(line)
        return self

    def duplicates(self) -> list[Finding]:
        """M103 for documents and for lines."""
        found = []
        for what, repeats in (("documents", self.documents), ("lines", self.lines)):
            if repeats.rate > DUPLICATES_WARNING:
                most, example = repeats.most
                facts = {"rate": repeats.rate, "what": what, "repeated": repeats.repeated, "count": repeats.count, "most": most}
                found.append(Finding.of("M103", "warning", example=example, **facts))
        rates = f"{self.documents.rate:.2%} of {self.documents.count:,} documents, {self.lines.rate:.2%} of {self.lines.count:,} lines"
        return found or [Finding.good("duplicates", f"{rates} are repetitions")]

    def unknown_rate(self, known: Callable[[str], bool]) -> float:
        """Share of the tokens whose word is not known."""
        return sum(count for word, count in self.words.items() if not known(word)) / max(self.words.total(), 1)

    def unknown_pieces(self, vocabulary: Subwords) -> tuple[float, int]:
        """(share of the pieces that are unknown, pieces), of the words one by one."""
        ids, ends = vocabulary.encode_flat(list(self.words))
        counts = np.fromiter(self.words.values(), np.int64, len(self.words))
        weights = np.repeat(counts, np.diff(ends, prepend=0))
        return float(weights[ids == vocabulary.marks.unknown].sum() / max(weights.sum(), 1)), int(weights.sum())


class _Repeats:
    """How many texts were seen before, by hash; the first LINES texts are remembered."""

    def __init__(self) -> None:
        self.count = self.repeated = 0
        self.most: tuple[int, str] = (0, "")
        self._seen: dict[bytes, int] = {}

    def add(self, text: str) -> None:
        self.count += 1
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        if key in self._seen:
            self.repeated += 1
            self._seen[key] += 1
            if self._seen[key] > self.most[0]:
                self.most = self._seen[key], text if len(text) <= 60 else text[:57] + "..."
        elif len(self._seen) < LINES:
            self._seen[key] = 1

    @property
    def rate(self) -> float:
        return self.repeated / max(self.count, 1)


def empty_documents(passed_over: Sequence[MalmoiError], documents: int) -> list[Finding]:
    """M104 for documents without words: a warning from one in a hundred on. `passed_over`: what the reader told (M016)."""
    empty = [error for error in passed_over if error.code == "M016"]
    others = [Finding.of_error(error, "warning") for error in passed_over if error.code != "M016"]
    total = documents + len(empty)
    if not empty:
        return [*others, Finding.good("empty documents", f"none of {total:,}")]
    level = "warning" if len(empty) > total / 100 else "info"
    return [*others, Finding.of("M104", level, count=len(empty), total=total, example=empty[0].message)]  # type: ignore[arg-type]


def vocabulary_covers(vocabulary: Vocabulary, words: Counter[str], *, rate: float) -> list[Finding]:
    """M102 if a vocabulary lacks a fifth of a corpus: then it is another corpus's (`rate`: share of the tokens that it lacks)."""
    if rate > UNKNOWN_LIMIT:
        missing = [word for word, _ in words.most_common(1000) if vocabulary.id_of(word) == UNK][:3]
        problem = f"it lacks {rate:.1%} of the tokens, among them {', '.join(map(repr, missing)) or 'only rare words'}"
        return [Finding.of("M102", "error", problem=problem)]
    return [Finding.good("vocabulary", f"it has {1 - rate:.2%} of the tokens of this corpus")]


def ranks(vocabulary: Vocabulary) -> list[Finding]:
    """M106 if counts do not fall with the ids: the sampled softmax and every prefix rely on it."""
    counts = np.asarray(vocabulary.counts[3:])
    rises = np.flatnonzero(np.diff(counts) > 0)
    if len(rises):
        first = int(rises[0]) + 3
        word, after = vocabulary.words[first], vocabulary.words[first + 1]
        there, here = int(counts[first - 3]), int(counts[first - 2])
        problem = f"id {first} ({word!r}, {there:,} times) stands before id {first + 1} ({after!r}, {here:,} times)"
        return [Finding.of("M106", "error", problem=problem)]
    return [Finding.good("ranks", f"{len(counts):,} word types by falling count")]


def indexed(shards: Shards, vocabulary: Vocabulary, *, size: int) -> list[Finding]:
    """Shards beside the vocabulary whose ids they hold: flood of <unk> at an output vocabulary of `size` (M101), and, where the
    vocabulary was counted on the same text, other counts than it has (M102)."""
    ids = shards.ids(0, min(shards.tokens, WORDS))
    size = min(size, len(vocabulary))
    counted = np.bincount(ids, minlength=len(vocabulary))
    at_rest, outside = counted[UNK] / max(len(ids), 1), counted[size:].sum() / max(len(ids), 1)
    if at_rest > UNKNOWN_LIMIT:
        next = f"{at_rest:.1%} were unknown when the shards were written: index the corpus again with a vocabulary of all its types."
    else:
        next = "raise model.head.size, or split words (text.words=punctuation)."
    found = unknown_flood(float(at_rest + outside), where="the shards", size=size, next=next)
    return found + _same_counts(counted, vocabulary, whole=len(ids) == shards.tokens)


def pieces_at_rest(shards: Shards, vocabulary: Subwords) -> list[Finding]:
    """M101 for shards of subwords: the share of ids that are the unknown mark."""
    ids = shards.ids(0, min(shards.tokens, WORDS))
    rate = float((ids == vocabulary.marks.unknown).mean()) if len(ids) else 0.0
    return unknown_flood(rate, where="the shards", size=len(vocabulary), next=FALL_BACK)


def documents_at_rest(shards: Shards, vocabulary: Vocabulary | Subwords) -> list[Finding]:
    """M103 and M104 for the documents of shards: how many repeat another one word for word, and how many are empty."""
    repeats = _Repeats()
    stop = int(np.searchsorted(shards.ends, WORDS, side="right"))
    for start, end in zip(np.concatenate([[0], shards.ends[: stop - 1]]), shards.ends[:stop], strict=False):
        if end > start:
            repeats.add(" ".join(map(str, shards.ids(int(start), int(end)))))
    empty = int((shards.lengths == 0).sum())
    found = []
    if empty > shards.documents / 100:
        example = f"document {int(np.argmax(shards.lengths == 0))}"
        found.append(Finding.of("M104", "warning", count=empty, total=shards.documents, example=example))
    if repeats.rate > DUPLICATES_WARNING:
        most, ids = repeats.most
        words = _text(vocabulary, [int(word) for word in ids.removesuffix("...").split()[:8]])
        facts = {"rate": repeats.rate, "repeated": repeats.repeated, "count": repeats.count, "most": most, "example": words}
        found.append(Finding.of("M103", "warning", what="documents", **facts))
    facts_found = f"{repeats.rate:.2%} of {repeats.count:,} documents repeat another, {empty:,} are empty"
    return found or [Finding.good("documents", facts_found)]


def _text(vocabulary: Vocabulary | Subwords, ids: list[int]) -> str:
    return vocabulary.decode(ids) if isinstance(vocabulary, Subwords) else " ".join(vocabulary.words[id] for id in ids)


def _same_counts(counted: np.ndarray, vocabulary: Vocabulary, *, whole: bool) -> list[Finding]:
    expected = np.asarray(vocabulary.counts).astype(np.int64)
    if whole and np.array_equal(counted, expected):
        return [Finding.good("vocabulary", f"its counts are those of the shards, for all {len(vocabulary):,} ids")]
    total = max(int(expected.sum()), 1)
    apart = 0.5 * float(np.abs(counted / max(counted.sum(), 1) - expected / total).sum())
    if whole:
        where = int(np.abs(counted - expected).argmax())
        word, there, here = vocabulary.words[where], int(counted[where]), int(expected[where])
        mass = f"{apart:.1%} of the mass is elsewhere"
        problem = f"{word!r} stands {there:,} times in the shards, {here:,} times in the counts of the vocabulary ({mass})"
        return [Finding.of("M102", "error" if apart > 0.5 else "warning", problem=problem)]
    if apart > 0.5:
        return [Finding.of("M102", "error", problem=f"{apart:.1%} of the mass of its counts lies on other words than in the shards")]
    return [Finding.good("vocabulary", f"in the first {int(counted.sum()):,} tokens {1 - apart:.1%} of the mass lies where its counts say")]
