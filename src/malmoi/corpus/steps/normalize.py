"""One form for one text: NFC, no invisible characters, plain white space, and no endless repetitions of a character."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Step
from malmoi.corpus.steps.characters import repeats
from malmoi.corpus.steps.spec import NormalizeSpec

LINES = "\x0b\x0c\x85\u2028\u2029"
"""What ends a line beside LF and CR."""
SPACES = "\t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\u3164\uffa0"
"""White space that is no plain space (U+3164 and U+FFA0, the Hangul fillers, are typed as one)."""
CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
INVISIBLE = (
    "\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffc\ufffe\uffff\U000e0000-\U000e007f"
)
"""Zero-width characters, direction controls, tags, soft hyphens, byte order marks and what is no character."""
SURROGATES = "\ud800-\udfff"
JOINED = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f"
"""Scripts that are written with zero-width joiners: Arabic, Syriac, those of India, Tibetan, Burmese, Khmer, Mongolian."""
EMOJI = "©®\u203c-\u3299\U0001f000-\U0001faff"
UNSEEN = re.compile(
    f"(?P<kept>\U0001f3f4[\U000e0020-\U000e007e]{{1,8}}\U000e007f|(?<=[{JOINED}])[\u200c\u200d]|(?<=[{EMOJI}\ufe0f])\u200d(?=[{EMOJI}]))"
    f"|(?P<surrogate>[{SURROGATES}])|(?P<control>[{CONTROLS}])|(?P<invisible>[{INVISIBLE}])"
)
FILLED = re.compile("\u3164([ㄱ-ㅎ])([ㅏ-ㅣ])([ㄱ-ㅎ\u3164])|([\u1100-\u1112])\u1160")
"""Syllables beyond KS X 1001, written as a filler and three letters (its annex 3), and consonants with a filler for a vowel."""
LEADING, TRAILING = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", "\u3164ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
ENDS = re.compile(f"\r\n|[\r{LINES}]")
BLANKS = re.compile(f"[ {SPACES}]*[{SPACES}][ {SPACES}]*")
MARKS = "!?.,~^;:'\"=_*…·ㆍ‥！？．，～〜。、♡♥-"
"""Marks whose runs are shortened. Brackets nest, stars rate, digits count: they are left alone."""


def normalize(spec: NormalizeSpec) -> Step:
    """The step that gives every text one form."""
    odd = re.compile(f"[^{_usual()}]")
    marks = re.compile(f"([{_combining()}]{{{spec.marks}}})[{_combining()}]+")
    many = re.compile(f"[^{_usual()}]{{{spec.marks + 1},}}")
    run = re.compile(rf"([^\W\d_]|[{MARKS}])\1{{{spec.repeats},}}")

    def step(document: Document) -> Change | None:
        text: str = document.text
        counts: dict[str, int] = {}
        if odd.search(text):
            text = _bounded(_visible(text, counts), many, marks, counts)
        if not unicodedata.is_normalized("NFC", text):
            text = _bounded(unicodedata.normalize("NFC", text), many, marks, counts)  # some marks have become two
            counts["nfc"] = 1
        text = _plain(text, counts)
        if spec.repeats and repeats(text, spec.repeats + 1):
            text = run.sub(lambda match: _shortened(match, spec.repeats, counts), text)
        return Change(text, counts) if text != document.text else None

    return step


@cache
def _combining() -> str:
    """All combining marks. Long runs of them are put in order in quadratic time: they are cut first."""
    codes = (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0))
    return _ranges(code for code in codes if unicodedata.combining(chr(code)) or unicodedata.category(chr(code)) in ("Mn", "Me"))


@cache
def _usual() -> str:
    """The characters of the basic plane that need no second look (a class of only these is searched for ten times faster)."""
    odd = re.compile(f"[\r{LINES}{SPACES}{CONTROLS}{INVISIBLE}{SURROGATES}{_combining()}]")
    return _ranges(code for code in range(0x10000) if not odd.match(chr(code)))


def _ranges(codes: Iterable[int]) -> str:
    """Rising code points as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _visible(text: str, counts: dict[str, int]) -> str:
    """`text` without what cannot be seen, with `\n` and the plain space as the only white space."""

    def unseen(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if kind == "kept":
            return match[0]
        counts[kind] = counts.get(kind, 0) + 1
        return ""

    text, filled = FILLED.subn(_syllable, text)
    text, ends = ENDS.subn("\n", text)
    text, blanks = BLANKS.subn(" ", UNSEEN.sub(unseen, text))
    counts.update({name: count for name, count in (("jamo", filled), ("line_end", ends), ("space", blanks)) if count})
    return text


def _syllable(match: re.Match[str]) -> str:
    first, vowel, last, alone = match.groups()
    if alone:
        return LEADING[ord(alone) - 0x1100]
    if first not in LEADING or last not in TRAILING:
        return match[0]
    return chr(0xAC00 + (LEADING.index(first) * 21 + ord(vowel) - ord("ㅏ")) * 28 + TRAILING.index(last))


def _bounded(text: str, many: re.Pattern[str], marks: re.Pattern[str], counts: dict[str, int]) -> str:
    """`text` with short runs of combining marks. `many` finds where they may be: it is faster, but finds emoji too."""

    def bound(match: re.Match[str]) -> str:
        found, long = marks.subn(r"\1", match[0])
        if long:
            counts["marks"] = counts.get("marks", 0) + long
        return found

    return many.sub(bound, text)


def _plain(text: str, counts: dict[str, int]) -> str:
    """`text` with single spaces, none at the ends of lines, and at most one blank line in a row."""
    before = text
    if "  " in text:
        text = re.sub("  +", " ", text)
    if "\n" in text:
        if "\n " in text:
            text = text.replace("\n ", "\n")
        if " \n" in text:
            text = text.replace(" \n", "\n")
        if "\n\n\n" in text:
            text = re.sub("\n\n\n+", "\n\n", text)
    text = text.strip(" \n")
    if text != before:
        counts["layout"] = 1
    return text


def _shortened(match: re.Match[str], repeats: int, counts: dict[str, int]) -> str:
    """The first characters of a run. Numerals (also 一 and 〇) and letters of a number such as 0xFFFF or of a colour stay."""
    character, text = match[1], match.string
    beside = text[max(match.start() - 1, 0) : match.start()] + text[match.end() : match.end() + 1]
    if character.isnumeric() or (character.isascii() and character.isalpha() and any(other in "0123456789#x" for other in beside)):
        return match[0]
    counts["repeats"] = counts.get("repeats", 0) + 1
    return character * repeats
