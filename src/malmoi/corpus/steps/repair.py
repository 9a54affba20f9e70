"""Mojibake is undone line by line; what cannot be repaired is taken out whole, never mangled.

Three kinds: UTF-8 that was read as Latin-1 or Windows-1252, once or several times (ftfy: Speer 2019, doi 10.5281/zenodo.2591652, extra
`corpus`); CP949 that was read so (a rule of our own: ftfy makes it worse, rspeer/python-ftfy#29); and bytes that were lost (U+FFFD).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from malmoi.core.errors import MalmoiError
from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Removal, Step, Taken
from malmoi.corpus.steps.spec import RepairSpec

SUSPECT = re.compile("[À-ÖØ-öø-þ\x80-\x9f\ufffd]")
"""Every kind of mojibake holds one of these; hardly any Korean line does."""
CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
"""What Windows-1252 has where Latin-1 has control characters."""
PAIR = re.compile(f"[\x80-\x9f\ufffd]|[À-ÖØ-öø-þ][^ -~À-ÖØ-öø-ÿ\\s]|[¡-¿{CP1252}][À-ÖØ-öø-þ]|[À-ÿ]{{4}}|Ã ")
"""Mojibake puts letters beside marks and symbols."""
RUN = re.compile("[\x00-\u10ff\u2000-\u2bff]+")
"""A part of a line that may be mojibake as a whole: it ends where good Hangul, kana or hanja begin."""
WORDS = re.compile("([\\s‘’“”…–—]+)")
BYTES = {ord(character): character.encode("cp1252")[0] for character in CP1252}
ROUNDS = 8
"""Layers that are undone."""
COMMON = frozenset(
    "가각간감강같개거건걸것게겠결경계고공과관교구국군권그근글금급기김까나난남내냐너네년노느는니님다단달당대더던데도독동되된두드든들듯등디때또라람랑래러런렇레려력로루"
    "르른를름리린마막만많말매며면명모못무문물미민바박반받발방배버번법보복본봤부분불비사산살상생서선설성세소속수스습시식신실심아악안않알았애야약양어억언업없었에여역연"
    "였영예오와왜외요용우운울원월위유으은을음의이인일임입있자작잘장재저적전절점정제조좀종좋주준중지직진질집짜차참처천청체최추출치코크키타태터토통트파판편평포표프피하"
    "학한할함합해했행현형호혼화회후히"
)
"""The 256 most frequent syllables of Korean text: 86% of an encyclopedia, petitions, reviews and comments, 11% of KS X 1001."""


def repair(spec: RepairSpec) -> Step:
    """The step that undoes mojibake. Raises MalmoiError M005 where ftfy is missing."""
    try:
        from ftfy import TextFixerConfig, fix_encoding
        from ftfy.badness import badness
    except ImportError:
        raise MalmoiError("M005", what="repairing mojibake", package="ftfy", extra="corpus") from None
    config = TextFixerConfig(replace_lossy_sequences=False)

    def foreign(run: str) -> str:
        return str(fix_encoding(run, config))

    def step(document: Document) -> Change | Removal | None:
        text = document.text
        if text.isascii() or not SUSPECT.search(text):
            return None
        counts: Counter[str] = Counter()
        stay: list[str] = []
        taken: list[Taken] = []
        for line in text.split("\n"):
            if PAIR.search(line):
                line = _mended(line, foreign, badness, counts)
                if reason := _reason(line, spec, badness):
                    taken.append(Taken(reason, line))
                    continue
            stay.append(line)
        lost = sum(len(part.text) for part in taken) / len(text)
        if lost > spec.broken:
            return Removal("broken", f"{lost:.2f} > {spec.broken:.2f}")
        return Change("\n".join(stay), dict(counts), taken) if counts or taken else None

    return step


def _mended(line: str, foreign: Callable[[str], str], badness: Callable[[str], int], counts: Counter[str]) -> str:
    """`line` after as many layers as there are."""

    def mend(match: re.Match[str]) -> str:
        run = match[0]
        if not PAIR.search(run):
            return run
        for kind, found in (("utf8", _utf8(run, badness)), ("cp949", _cp949(run, badness)), ("utf8", _foreign(run, foreign, badness))):
            if found is not None:
                counts[kind] += 1
                return found
        return run

    for _ in range(ROUNDS):
        before, line = line, RUN.sub(mend, line)
        if line == before:
            break
    return line


def _bytes(run: str) -> bytes | None:
    """The bytes that were read as Latin-1 or Windows-1252, if `run` can be that."""
    try:
        return run.translate(BYTES).encode("latin-1")
    except UnicodeEncodeError:
        return None


def _utf8(run: str, badness: Callable[[str], int]) -> str | None:
    """`run` read as UTF-8, if it is valid and was no text before or is Hangul now."""
    data = _bytes(run)
    try:
        found = data.decode("utf-8") if data else run
    except UnicodeDecodeError:
        return None
    return found if found != run and (badness(run) or any("가" <= character <= "힣" for character in found)) else None


def _foreign(run: str, foreign: Callable[[str], str], badness: Callable[[str], int]) -> str | None:
    """What ftfy makes of `run`, if that explains nearly all that is odd in it.

    A list of signs or of letters holds a pair that could be UTF-8 for one Hebrew or Arabic letter: a single one is not believed.
    """
    found, odd = foreign(run), badness(run)
    if found == run or 4 * badness(found) > odd:
        return None
    return None if odd < 3 and any("\u0250" <= character <= "\u10ff" for character in set(found) - set(run)) else found


def _cp949(run: str, badness: Callable[[str], int]) -> str | None:
    """`run` read as CP949, whole or else word by word, where that gives Korean.

    What is not ASCII is mostly Hangul then, and enough of that is frequent: Latin text does not look so by chance.
    """
    odd = badness(run) > 0
    for parts in ([run], WORDS.split(run)):
        found = [_hangul(part) for part in parts]
        hangul = [character for part in found if part for character in part if _is_hangul(character)]
        common = sum(character in COMMON or character < "가" for character in hangul)
        if len(hangul) >= 2 and common >= len(hangul) * ((0.5 if odd else 1.0) if len(hangul) < 4 else (0.3 if odd else 0.6)):
            return "".join(new or old for new, old in zip(found, parts, strict=True))
    return None


def _hangul(part: str) -> str | None:
    """`part` read as CP949 if what is not ASCII is mostly Hangul then."""
    data = _bytes(part)
    if not data or data.isascii():
        return None
    try:
        found = data.decode("cp949")
    except UnicodeDecodeError:
        return None
    letters = [character for character in found if character.isalpha() and not character.isascii()]
    return found if sum(map(_is_hangul, letters)) >= 0.5 * len(letters) else None


def _is_hangul(character: str) -> bool:
    return "가" <= character <= "힣" or "ㄱ" <= character <= "ㅣ"


def _reason(line: str, spec: RepairSpec, badness: Callable[[str], int]) -> str | None:
    """Why a line cannot stay, if so."""
    if line.count("\ufffd") > spec.replacement * len(line):
        return "replacement"
    bad = badness(line)
    return "mojibake" if bad >= 3 and 2 * bad > spec.mojibake * len(line) else None
