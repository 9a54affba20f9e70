"""The noise of web pages and of news (KLUE; Park et al. 2021, section 2.2): tags, entities, hashtags, empty brackets, copyright; for
news also datelines, reporters, sources of pictures and lines of the press.

What is cut inside a line is counted; a line of which no word is left is taken out whole, with the reason.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Step, Taken
from malmoi.corpus.steps.spec import NoiseSpec


class Cut(NamedTuple):
    """One kind of noise. signs: without one of them in the text there is nothing to cut. do: line -> (line, number of cuts)."""

    reason: str
    signs: tuple[str, ...]
    do: Callable[[str], tuple[str, int]]


ENTITY = re.compile(r"&(?:(?:amp|#38|#x26);)*(nbsp|lt|gt|quot|apos|amp|middot|hellip|[lr][ds]quo|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")
TAG = re.compile(
    r"<!--.{0,1000}?-->|</?(?:a|abbr|article|aside|audio|b|big|blockquote|body|br|button|center|cite|code|dd|del|div|dl|doc|dt|em|embed|figcaption"
    r"|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|label|li|link|meta|nav|object|ol|option|p|param|pre|s|script"
    r"|section|select|small|source|span|strike|strong|style|sub|sup|table|tbody|td|textarea|tfoot|th|thead|title|tr|tt|u|ul|video)"
    r"(?:\s[^<>=\n]{0,100}=[^<>\n]{0,2000}+)?\s{0,3}/?>",
    re.IGNORECASE,
)
"""Of HTML, and the `<doc ...>` of WikiExtractor."""
HASHTAG = r"#(?![0-9a-fA-F]{3}(?:[0-9a-fA-F]{3})?\b)(?=[0-9_]{0,8}[^\W\d_])\w{1,60}"
HASHTAGS = re.compile(rf"(?:(?<=^)|(?<=[ .!?~…]))(?:{HASHTAG}[ ,]{{0,3}}){{2,20}}(?=[ .!~]{{0,3}}(?:$|@|http))|(?:^|(?<!,) ){HASHTAG} ?$")
"""At the end of a line: elsewhere a hashtag is a word of its sentence."""
EMPTY = re.compile(r"[(\[（〈《「『【](?:[ ,;·]{0,8}[,;·])? ?[)\]）〉》」』】]|[(（] ?[,;]")
BRACKETS = re.compile(r"[()\[\]（）〈〉《》「」『』【】 ,;·]{2,}")
PARTNER = {")": "(", "]": "[", "）": "（", "〉": "〈", "》": "《", "」": "「", "』": "『", "】": "【"}
LEADING = re.compile(r"([(（])(?: ?[,;])+ *")
"""What a template left of `(漢字, 1900년)` is `(, 1900년)`."""
RESERVED = r"(?:무단 ?(?:전재|복제|배포|도용|게재)[^.\n]{0,20}?금지|all rights? reserved)[.\])>】〉]*"
COPYRIGHT = re.compile(
    rf"^\W{{0,4}}(?:copyrights?|저작권자)? ?(?:ⓒ|©|\(c\)|copyrights? \d{{4}})[^\n]{{0,100}}$"
    rf"|[<\[(【〈]? ?(?:저작권자|ⓒ|©|copyrights?\b)[^\n]{{0,100}}?{RESERVED}|[<\[(【〈]? ?{RESERVED}",
    re.IGNORECASE,
)
SURNAMES = "김이박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민류나진지엄채원천방공현함변염여추도소석선설마길"
NAME = f"[{SURNAMES}][가-힣]{{1,3}}"
REPORTER = rf"{NAME}(?: ?[·,/] ?{NAME}){{0,3}} ?(?:(?:인턴|수습|객원|선임|전문|사진|영상|의학|경제|정치)? ?기자|특파원|통신원|논설위원)"
EMAIL = r"[\w.+-]{1,40}@[\w-]{1,40}(?:\.[\w-]{1,20}){1,3}"
DATELINE = re.compile(
    rf"^\W{{0,2}}(?:[(\[【<][가-힣A-Za-z·, ]{{1,20}}=[가-힣A-Za-z0-9· ]{{1,20}}[)\]】>] ?(?:{REPORTER} ?)?(?:= ?)?"
    rf"|[(\[【<](?:[가-힣A-Za-z0-9·]{{1,20}}[ =])?{REPORTER}[)\]】>] ?(?:= ?)?|{REPORTER} ?= ?)"
)
BYLINE = re.compile(rf"(?:^|(?<=[.!?”\"'’)\]])|(?<=다)) ?[/|(\[]? ?(?:{REPORTER}(?: ?[|/(\[]? ?{EMAIL})?|{EMAIL}) ?[)\]]?[ .]*$")
PICTURE = re.compile(
    r"[(\[〈<【] ?(?:자료)?(?:사진|영상|그래픽|이미지|일러스트) ?(?:제공|출처|캡처|[=:/ⓒ])[^()\[\]〈〉<>【】\n]{0,60}[)\]〉>】]"
    r"|^\W{0,3}(?:자료)?(?:사진|영상|그래픽|이미지|일러스트) ?(?:제공|출처|캡처|[=:/ⓒ]).{0,60}$"
    r"|(?:자료)?(?:사진|영상|그래픽) ?= ?[가-힣A-Za-z0-9· ]{1,20}$"
)
PRESS = re.compile(
    r"^\W{0,3}(?:기사)?(?:입력|수정|등록|최종수정|송고|승인|발행)(?:시간|일시|일)? ?[:：|]? ?\d{4} ?[-./년].{0,60}$"
    r"|^\W{0,3}(?:기사 ?제보|관련 ?기사|제보는|구독하기|뉴스 ?구독).{0,80}$"
    r"|^\W{0,3}(?:네이버|카카오톡|페이스북|유튜브|텔레그램|트위터).{0,40}(?:구독|채널 ?추가|친구 ?추가|제보|팔로우|바로 ?가기).{0,30}$"
    r"|^[ ]?[▶▷☞►◆■※☎].{0,60}(?:구독|바로 ?가기|기사|제보|클릭|다운로드|채널|카카오|페이스북|트위터|유튜브).{0,40}$"
)


def noise(spec: NoiseSpec) -> Step:
    """The step that cuts noise."""
    cuts = CUTS + NEWS if spec.news else CUTS
    words = [sign for cut in cuts for sign in cut.signs if len(sign) > 1]
    signs = re.compile("[" + re.escape("".join(sign for cut in cuts for sign in cut.signs if len(sign) == 1)) + "]")

    def step(document: Document) -> Change | None:
        text = document.text
        if not any(sign in text for sign in words) and not signs.search(text):
            return None
        wanted = [cut for cut in cuts if any(sign in text for sign in cut.signs)]
        if wanted == [EMPTIES] and not EMPTY.search(text):
            return None
        counts: Counter[str] = Counter()
        stay: list[str] = []
        taken: list[Taken] = []
        for line in text.split("\n"):
            left = _cut(line, wanted, counts, taken)
            if left or not line:
                stay.append(left)
        return Change("\n".join(stay).strip("\n"), dict(counts), taken) if counts or taken else None

    return step


def _cut(line: str, cuts: list[Cut], counts: Counter[str], taken: list[Taken]) -> str:
    """`line` without noise; "" if no word was left and it was taken."""
    left = line
    for cut in cuts:
        left, times = cut.do(left)
        if times:
            left = re.sub("  +", " ", left).strip(" ")
            if not any(map(str.isalnum, left)):
                taken.append(Taken(cut.reason, line))
                return ""
            counts[cut.reason] += times
    return left


def _entities(line: str) -> tuple[str, int]:
    line, times = ENTITY.subn(_entity, line)
    return (unicodedata.normalize("NFC", line) if times else line), times


def _entity(match: re.Match[str]) -> str:
    character = html.unescape(f"&{match[1]};")
    return (
        " "
        if character.isspace()
        else character
        if character.isprintable() and character != "\ufffd" and not unicodedata.combining(character)
        else ""
    )


def _brackets(line: str) -> tuple[str, int]:
    if not EMPTY.search(line):
        return line, 0
    closed = BRACKETS.sub(_closed, line)
    return LEADING.subn(r"\1", closed)[0], int(closed != line) + len(LEADING.findall(closed))


def _closed(match: re.Match[str]) -> str:
    """A run of brackets, commas and spaces without the pairs that hold nothing. `print()`, `= []` and the blank `( )` of an exam stay."""
    run, before = match[0], match.string[max(match.start() - 1, 0) : match.start()]
    if (before.isascii() and before.isalnum() and run[0] in "([") or (before == "=" and "[" in run):
        return run
    kept: list[str] = []
    open: list[int] = []
    emptied = -1
    for character in run:
        partner = PARTNER.get(character)
        if partner is None:
            if character not in " ,;·":
                open.append(len(kept))
            kept.append(character)
        elif open and kept[open[-1]] == partner:
            start = open.pop()
            inside = kept[start + 1 :]
            if inside and set(inside) == {" "} and emptied <= start:
                open.clear()
                kept.append(character)
            else:
                del kept[start:]
                emptied = start
        else:
            open.clear()
            kept.append(character)
    return "".join(kept)


def _without(pattern: re.Pattern[str]) -> Callable[[str], tuple[str, int]]:
    return lambda line: pattern.subn(" ", line)


EMPTIES = Cut("brackets", tuple(PARTNER), _brackets)
CUTS = (
    Cut("entity", ("&",), _entities),
    Cut("tag", ("<", "&"), _without(TAG)),
    Cut("hashtag", ("#",), _without(HASHTAGS)),
    Cut("copyright", ("ⓒ", "©", "무단", "opyright", "OPYRIGHT", "eserved", "ESERVED"), _without(COPYRIGHT)),
    EMPTIES,
)
NEWS = (
    Cut("picture", ("사진", "영상", "그래픽", "이미지", "일러스트"), _without(PICTURE)),
    Cut("dateline", ("기자", "특파원", "통신원", "논설위원", "="), _without(DATELINE)),
    Cut("byline", ("기자", "특파원", "통신원", "논설위원", "@"), _without(BYLINE)),
    Cut(
        "press",
        ("입력", "수정", "등록", "송고", "승인", "발행", "제보", "관련", "네이버", "카카오", "구독", *"▶▷☞►◆■※☎", "페이스북"),
        _without(PRESS),
    ),
)
