"""Words in a column with their tags: CoNLL-2000 and 2003, WNUT-17, Wikigold, Universal Dependencies, KLUE-NER."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from malmoi.tasks.formats.source import Source
from malmoi.tasks.task import Tagged

UPOS = ("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X")
"""The universal tags (Nivre et al. 2016), in the order of universaldependencies.org."""


def bio(kinds: Sequence[str]) -> tuple[str, ...]:
    """B- and I- of each kind, then O: the order in which KLUE lists them."""
    return (*(f"{part}-{kind}" for kind in kinds for part in "BI"), "O")


def iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """IOB1 -> IOB2: an entity always begins with B-. In IOB1 it does so only behind another of its kind (Tjong Kim Sang 2002)."""
    found: list[str] = []
    for before, tag in zip(("O", *tags), tags, strict=False):
        begins = tag.startswith("I-") and before[1:] != tag[1:]
        found.append("B" + tag[1:] if begins else tag)
    return tuple(found)


@dataclass(frozen=True)
class WordColumns:
    """A word a line, blank lines between sentences; the first field is the word, the last one its tag.

    separator: None for any white space. fields: how many a line has. fixed: tags of a sentence -> those that are used.
    """

    tags: tuple[str, ...]
    separator: str | None = None
    fields: tuple[int, ...] = (2,)
    fixed: Callable[[Sequence[str]], tuple[str, ...]] = tuple

    def __call__(self, source: Source) -> list[Tagged]:
        """Raises MalmoiError M152 where the first line is of another form, M153 for another line, M154 for a tag."""
        found: list[Tagged] = []
        for sentence in blocks(source):
            words, tags = [], []
            for line, text in sentence:
                fields = text.split(self.separator)
                if len(fields) not in self.fields or not fields[0]:
                    problem = f"line {line} is not a word and its tag, {' or '.join(map(str, self.fields))} fields"
                    raise source.of_another_task(problem) if not found else source.broken(f"line {line}", problem)
                words.append(fields[0])
                tags.append(fields[-1] if fields[0] == "-DOCSTART-" else source.known(f"line {line}", fields[-1], self.tags))
            if words[0] != "-DOCSTART-":
                found.append(Tagged(f"{source.split}-{len(found)}", tuple(words), self.fixed(tags)))
        return found


def blocks(source: Source) -> Iterator[list[tuple[int, str]]]:
    """Lines up to a blank one; blank ones may hold tabs and spaces."""
    block: list[tuple[int, str]] = []
    for line, text in source.lines():
        if text.strip():
            block.append((line, text))
        elif block:
            yield block
            block = []
    if block:
        yield block


def universal(source: Source) -> list[Tagged]:
    """CoNLL-U (universaldependencies.org): words (not the tokens that span several, nor empty nodes) with their universal tags."""
    found: list[Tagged] = []
    for sentence in blocks(source):
        id, words, tags = f"{source.split}-{len(found)}", [], []
        for line, text in sentence:
            if text.startswith("#"):
                name, _, value = text[1:].partition("=")
                id = value.strip() if name.strip() == "sent_id" else id
                continue
            fields = text.split("\t")
            if len(fields) != 10:
                problem = f"line {line} has {len(fields)} fields, not 10"
                raise source.of_another_task(problem) if not found else source.broken(f"line {line}", problem)
            if fields[0].isdigit():
                words.append(fields[1])
                tags.append(source.known(f"line {line}", fields[3], UPOS))
        if words:
            found.append(Tagged(id, tuple(words), tuple(tags)))
    return found


KLUE_KINDS = ("PS", "LC", "OG", "DT", "TI", "QT")
"""Person, location, organization, date, time, quantity, in KLUE's order."""


def klue_ner(source: Source) -> list[Tagged]:
    """KLUE-NER (Park et al. 2021, section 3.4): a tag for each character. `words` are characters, and spaces are words " " of their own.

    So "".join(words) is the sentence: a model reads that (`spelled` says which characters are which word), and the tag of a character
    is that of the piece in which it stands.
    """
    labels = bio(KLUE_KINDS)
    found: list[Tagged] = []
    for sentence in _characters(source):
        id, words, tags = f"{source.split}-{len(found)}", [], []
        for line, text in sentence:
            if text.startswith("##"):
                id = text[2:].split("\t")[0].strip() if text.startswith("## klue") else id
                continue
            fields = text.split("\t")
            if len(fields) != 2 or len(fields[0]) != 1:
                problem = f"line {line} is not a character and its tag"
                raise source.of_another_task(problem) if not found else source.broken(f"line {line}", problem)
            words.append(fields[0])
            tags.append(source.known(f"line {line}", fields[1], labels))
        if words:
            found.append(Tagged(id, tuple(words), tuple(tags)))
    return found


def _characters(source: Source) -> Iterator[list[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    for line, text in source.lines():
        if text not in ("", "\t"):
            block.append((line, text))
        else:
            yield block
            block = []
    yield block


def spelled(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text that words make, and where each stands in it: [begin, end) in characters.

    Words of languages with spaces get one between them. Where one of the words is a space (klue-ner), nothing is put between them.
    """
    between = "" if " " in words else " "
    spans, begin = [], 0
    for word in words:
        spans.append((begin, begin + len(word)))
        begin += len(word) + len(between)
    return between.join(words), tuple(spans)
