"""Personal data -> typed placeholders: numbers by form, date and checksum, addresses by form, all in one pass over what could be one.

Cheap looks decide which patterns are tried at all: a document without a long run of digits, `@`, `://`, `www.` or the end of a domain is
left as it is. Every pattern is linear: what repeats without bound is possessive, the rest has an upper limit. Where two findings
overlap the longer one stands, so an address in an address is one placeholder. Korean particles behind a finding stay (`[PHONE]로`).

The check digit of resident registration numbers means nothing since October 2020 (the last six digits are random): date and seventh
digit decide. What is written out in words (`공일공 ...`, `hong at naver dot com`) is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from malmoi.corpus.document import Document
from malmoi.corpus.steps.base import Change, Step
from malmoi.corpus.steps.spec import PersonalSpec, PersonalType

PLACEHOLDERS: dict[PersonalType, str] = {
    "email": "[EMAIL]",
    "url": "[URL]",
    "ip": "[IP]",
    "phone": "[PHONE]",
    "resident": "[RESIDENT_NUMBER]",
    "passport": "[PASSPORT]",
    "driver": "[DRIVER_LICENCE]",
    "business": "[BUSINESS_NUMBER]",
    "card": "[CARD]",
    "handle": "[HANDLE]",
}
LATEST_BIRTH = 2035
"""Resident numbers of later years are no resident numbers (the seventh digit tells the century)."""


class Span(NamedTuple):
    """A finding: `text[begin:end]` is of `type`."""

    begin: int
    end: int
    type: PersonalType


def personal(spec: PersonalSpec) -> Step:
    """Replaces what it finds of `spec.types` by a placeholder; counts by type."""
    return partial(_mask, frozenset(spec.types))


def _mask(types: frozenset[PersonalType], document: Document) -> Change | None:
    text = document.text
    spans = find(text, types)
    if not spans:
        return None
    parts: list[str] = []
    counts: dict[str, int] = {}
    done = 0
    for begin, end, type in spans:
        parts += text[done:begin], PLACEHOLDERS[type]
        counts[type] = counts.get(type, 0) + 1
        done = end
    parts.append(text[done:])
    return Change("".join(parts), counts)


def find(text: str, types: frozenset[PersonalType] = frozenset(PLACEHOLDERS)) -> Sequence[Span]:
    """The findings of `types` in `text`, in order, none overlapping another. All types are looked for, so that a number of one type
    is not taken for one of another when only some are asked for."""
    if not text.isascii() and b"\xff" in text.encode("utf-16-le", "surrogatepass") and _WIDE.search(text):
        text = text.translate(_NARROW)  # character for character: places stay
    plain = text.encode("ascii", "replace")  # as many bytes as characters: bytes are searched several times faster
    telling = plain.translate(None, _DULL)
    spans: list[Span] = []
    if len(telling) >= 7:
        shape = plain.translate(_SHAPE)
        if _RUN.search(shape):
            spans += _numbers(text, shape)
        if b"a000a0000" in shape or b"a0000000" in shape:
            spans += _in_form(text, _PASSPORTS, 0, len(text))
    if b"@" in telling:
        spans += _handles(text)
    if b"." in telling and _DOTTED.search(plain):
        if b"@" in telling or b"(at)" in plain or b"[at]" in plain or "골뱅이" in text:
            spans += _in_form(text, _ADDRESSES, 0, len(text))
        if _DOMAIN_END.search(plain):
            spans += _urls(text, _DOMAIN)
        if b"www." in plain or b"WWW." in plain:
            spans += _urls(text, _WEB)
    if b":" in telling:
        if b"://" in plain:
            spans += _urls(text, _URL)
        if b"::" in plain or plain.count(b":") >= 7:
            spans += _in_form(text, _LONG_ADDRESSES, 0, len(text))
    return [span for span in _apart(spans) if span.type in types] if spans else spans


def _apart(spans: list[Span]) -> list[Span]:
    """Without those that overlap a longer one (or, of the same length, one of a type that stands earlier in the table)."""
    if len(spans) == 1:
        return spans
    rank = {type: place for place, type in enumerate(PLACEHOLDERS)}
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.begin, -span.end, rank[span.type])):
        if not kept or kept[-1].end <= span.begin:
            kept.append(span)
        elif span.end - span.begin > kept[-1].end - kept[-1].begin:
            kept[-1] = span
    return kept


# Forms: a pattern and what else must hold.

Check = Callable[[re.Match[str]], bool]


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write one type of data. The check sees the match, and through it the text around."""

    type: PersonalType
    pattern: re.Pattern[str]
    check: Check | None = None


def _in_form(text: str, forms: Sequence[Form], begin: int, end: int) -> Iterator[Span]:
    for form in forms:
        for match in form.pattern.finditer(text, begin, end):
            if form.check is None or form.check(match):
                yield Span(match.start(), match.end(), form.type)


def _near(match: re.Match[str], words: re.Pattern[str], *, before: int = 24, after: int = 0) -> bool:
    """Whether one of `words` stands near a match, on its side of the next line break."""
    text, begin, end = match.string, match.start(), match.end()
    if words.search(text[max(0, begin - before) : begin].rpartition("\n")[2]):
        return True
    return bool(after and words.search(text[end : end + after].partition("\n")[0]))


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


# Checks.

_CALLS = re.compile(r"(?i)전화|문의|번호|고객|센터|상담|콜|대표|연락|예약|신고|대리|팩스|☎|℡|tel|fax|phone|call")
_VERSIONS = re.compile(
    r"(?i)버전|버젼|릴리[스즈]|펌웨어|업데이트|빌드|제 ?$|절|§|그림|\bv(?:er)?\.? ?$|version|release|firmware|build|update|section"
)
_HOSTS = re.compile(r"(?i)\bip|아이피|서버|주소|호스트|게이트웨이|\bdns|ping|host|server|address|port|listen|접속")
_PASSPORT_WORDS = re.compile(r"(?i)여권|passport")
_PRODUCT_WORDS = re.compile(r"(?i)제품|모델|상품|주문|부품|운송|송장|model|order|product|part")
_LICENCE_WORDS = re.compile(r"(?i)면허|licen[cs]e")
_BUSINESS_WORDS = re.compile(r"(?i)사업자|business (?:registration )?n")
_COMPANY_WORDS = re.compile(r"법인 ?(?:등록)? ?번호")
_CARD_WORDS = re.compile(r"(?i)카드|card|visa")


def _is_short_number(match: re.Match[str]) -> bool:
    """1588-1234, but no span of years (1592-1598) and no decimal number, unless a word says so."""
    first, separator, second = match["first"], match["separator"], match["second"]
    years = int(first) < int(second) <= min(int(first) + 300, 2100)
    return (separator in "-–‐" and separator != "" and not years) or _near(match, _CALLS, after=8)


def _is_foreign_number(match: re.Match[str]) -> bool:
    return 8 <= len(_digits(match[0])) <= 15


def _is_resident(match: re.Match[str]) -> bool:
    birth, seventh = match["birth"], int(match["rest"][0])
    year = (19, 19, 19, 20, 20, 19, 19, 20, 20, 19)[seventh] * 100 + int(birth[:2])
    year -= 100 if seventh in (0, 9) else 0
    if seventh in (0, 9) and len(match[0]) == 13:
        return False
    try:
        date(year, int(birth[2:4]), int(birth[4:]))
    except ValueError:
        return False
    if year > LATEST_BIRTH or _near(match, _COMPANY_WORDS):
        return False
    return not (match[0].startswith("880") and match[0].isdigit() and _is_barcode(match[0]))


def _is_barcode(digits: str) -> bool:
    """EAN-13; Korea's begin with 880."""
    return sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10 == 0


def _is_passport(match: re.Match[str]) -> bool:
    strict = match[0].startswith("M") and not match[0][1].isalpha() and match[0].upper() == match[0]
    return _near(match, _PASSPORT_WORDS) or (strict and not _near(match, _PRODUCT_WORDS, before=12))


def _is_business(match: re.Match[str]) -> bool:
    digits = [int(digit) for digit in _digits(match[0])]
    total = sum(digit * weight for digit, weight in zip(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=False)) + digits[8] * 5 // 10
    if (total + digits[9]) % 10 or digits[:3] < [1, 0, 1]:
        return False
    return match["separator"] not in ("", " ") or _near(match, _BUSINESS_WORDS)


def _is_card(match: re.Match[str]) -> bool:
    """Luhn's check digit, and a prefix of a scheme with its lengths (9: Korean domestic cards)."""
    digits = _digits(match[0])
    if not _CARD_PREFIX.fullmatch(digits) or len(set(digits)) == 1:
        return False
    if len(digits) == 13 and not _near(match, _CARD_WORDS):
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _is_address(match: re.Match[str]) -> bool:
    """Four numbers with points: no version or section, unless they are large or a word says so."""
    if _near(match, _VERSIONS, before=12):
        return False
    parts = [int(part) for part in match[0].split(".")]
    return max(parts) >= 100 or parts[0] == 10 or _near(match, _HOSTS, after=8)


def _is_long_address(match: re.Match[str]) -> bool:
    try:
        IPv6Address(match[0])
    except AddressValueError:
        return False
    sure = any(len(group) >= 3 and not group.isalpha() for group in match[0].split(":"))
    return sure or _near(match, _HOSTS, after=24)


# Patterns of numbers. They are tried inside runs of digits and what may separate them.

_WIDE = re.compile("[！-～]")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_DULL = bytes(code for code in range(128) if chr(code) not in "0123456789@:.")
"""What nothing personal can do without is not in here."""
_SHAPE = bytes(
    ord("0") if chr(code).isdigit() else ord("a") if chr(code).isalpha() else ord("-") if chr(code) in "-() ~/" else code
    for code in range(128)
) + bytes(128)
_RUN = re.compile(rb"0(?=[0.\-?]{6})(?:[0.\-]|\?0){5,}+")
"""In the shape of a text, where a digit is 0, a letter a, and `?` may be a dash that is not ASCII."""
_DASH = r"[\-‐‑‒–—−.·]"
_GAP = rf"(?: ?{_DASH} ?| )"
_LOOSE = rf"(?: ?(?:{_DASH}|[~ㅡ/]) ?| )"
_BEGIN = r"(?<![0-9])(?<![0-9][\-.])"
_END = r"(?![0-9])(?!-[0-9])"
_NO_UNIT = r"(?! ?(?:원|년|만|억|명|개|점|㎞|km|㎡|%|달러))"
_ABROAD = rf"(?<![0-9])(?:(?:\+|(?<![0-9.])00)82{_GAP}?|82[\- ])"
_REGION = r"(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4])"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_SHORT = r"15(?:22|33|44|66|77|88|99)|16(?:00|1[1-8]|4[04]|6[0-8]|70|77|88)|18(?:00|11|22|33|44|55|66|77|88|99)"
_PLACE = r"(?:서울|부산|경기(?:북부|남부)?|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산)"
_CARD_PREFIX = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|62[0-9]{14,17}|9[0-9]{15}"
)


def _form(type: PersonalType, pattern: str, check: Check | None = None) -> Form:
    return Form(type, re.compile(pattern), check)


_NUMBERS = (
    _form("phone", rf"{_BEGIN}(?:\(01[016-9]\)|01[016-9]\)?){_LOOSE}?[0-9]{{3,4}}{_LOOSE}?[0-9]{{4}}{_END}"),
    _form("phone", rf"{_BEGIN}(?:\(0{_REGION}\) ?|0{_REGION}(?:\) ?|{_GAP}))[0-9]{{3,4}}{_GAP}[0-9]{{4}}{_END}"),
    _form("phone", rf"{_BEGIN}(?:\(0(?:[678]0|[35]0[0-9]?)\) ?|0(?:[678]0|[35]0[0-9]?)(?:\) ?|{_GAP}))[0-9]{{3,4}}{_GAP}[0-9]{{4}}{_END}"),
    _form("phone", rf"{_BEGIN}0(?:{_REGION}|[78]0|50[2-8])[0-9]{{7,8}}{_END}{_NO_UNIT}"),
    _form("phone", rf"{_BEGIN}(?P<first>{_SHORT})(?P<separator>[\-–‐. ]?)(?P<second>[0-9]{{4}}){_END}{_NO_UNIT}", _is_short_number),
    _form("phone", rf"{_ABROAD}\(?0?\)? ?(?:1[016-9]|{_REGION}|[78]0|50[0-9]?)\)?{_GAP}?[0-9]{{3,4}}{_GAP}?[0-9]{{4}}{_END}"),
    _form("phone", rf"(?<![0-9+A-Za-z])\+(?!82)[1-9][0-9()\-. ]{{7,18}}[0-9]{_END}", _is_foreign_number),
    _form("phone", rf"{_BEGIN}(?:\([2-9][0-9]{{2}}\) ?[2-9][0-9]{{2}}[\-. ]|[2-9][0-9]{{2}}-[2-9][0-9]{{2}}-)[0-9]{{4}}{_END}"),
    _form("resident", rf"{_BEGIN}(?P<birth>[0-9]{{6}})(?: ?[\-‐–—] ?| )?(?P<rest>[0-9][0-9*xX●○]{{6}}){_END}", _is_resident),
    _form("driver", rf"{_BEGIN}(?:1[1-9]|2[0-68])(?P<separator>[\- ])[0-9]{{2}}(?P=separator)[0-9]{{6}}(?P=separator)[0-9]{{2}}{_END}"),
    _form("driver", rf"{_PLACE}[\- ][0-9]{{2}}-[0-9]{{6}}-[0-9]{{2}}{_END}"),
    _form("driver", rf"{_BEGIN}(?:1[1-9]|2[0-68])[0-9]{{10}}{_END}", lambda match: _near(match, _LICENCE_WORDS)),
    _form("business", rf"{_BEGIN}[0-9]{{3}}(?P<separator>[\-‐–— ]?)[0-9]{{2}}(?P=separator)[0-9]{{5}}{_END}", _is_business),
    _form("card", rf"{_BEGIN}[0-9]{{4}}(?P<mark>[\-‐–—. ])[0-9]{{4}}(?P=mark)[0-9]{{4}}(?P=mark)[0-9]{{4}}{_END}", _is_card),
    _form("card", rf"{_BEGIN}[0-9]{{4}}(?P<mark>[\-‐–—. ])[0-9]{{6}}(?P=mark)[0-9]{{4,5}}{_END}", _is_card),
    _form("card", rf"{_BEGIN}[0-9]{{13,19}}{_END}", _is_card),
    _form("ip", rf"(?<![0-9.])(?<![vV]){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9])(?!\.[0-9])", _is_address),
)
_SHORT_NUMBERS = tuple(form for form in _NUMBERS if form.check in (_is_short_number, _is_resident, _is_address))
"""Those of fewer than nine digits (of a resident number the last six may be stars)."""
_PASSPORTS = (
    _form(
        "passport",
        r"(?<![0-9A-Za-z])(?:[A-Za-z](?:[0-9]{8}|[0-9]{3}[A-Za-z][0-9]{4})|[A-Za-z]{2}[0-9]{7})(?![0-9A-Za-z])",
        _is_passport,
    ),
)


def _numbers(text: str, shape: bytes) -> Iterator[Span]:
    for run in _RUN.finditer(shape):
        begin, end = run.span()
        digits = shape.count(b"0", begin, end)
        if digits >= 7 or shape.count(b".", begin, end) >= 3:
            yield from _in_form(text, _NUMBERS if digits >= 9 else _SHORT_NUMBERS, max(0, begin - 5), min(len(text), end + 10))


# Patterns of addresses.

_HOST = r"(?:[A-Za-z0-9-]++\.){1,8}"
_ADDRESSES = (
    _form(
        "email",
        rf"(?<![A-Za-z0-9_])[A-Za-z0-9_][A-Za-z0-9._%+'\-]{{0,63}}+ ?(?:@|\(at\)|\[at\]|골뱅이) ?{_HOST}[A-Za-z]{{2,24}}(?![A-Za-z0-9])",
    ),
)
_LONG_ADDRESSES = (_form("ip", r"(?<![0-9A-Za-z_:.])[0-9A-Fa-f:]{2,39}+(?![0-9A-Za-z_:])", _is_long_address),)
_DOTTED = re.compile(rb"\.[A-Za-z?]")
_DOMAIN_END = re.compile(
    rb"\.(?:com|net|org|kr|io|me|be|ly|gg|tv|co|to|us|info|biz|edu|gov|app|dev|xyz|shop|jp|cn|uk|de|fr|eu)(?![A-Za-z0-9-])"
)
_PARTICLE = r"(?:[은는이가을를에의로와과도]|에서|으로|에는|입니다|이며|이다|참고)"
_PATH = rf"(?:[/?#:](?:[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%\[\]]|(?<=[/=_(+\-가-힣])(?!(?<=[/=]){_PARTICLE}(?![가-힣]))[가-힣]){{0,2000}}+)?"
_SITE = rf"(?:[가-힣][가-힣0-9-]*+\.(?:한국|[a-z]{{2,6}}(?:\.[a-z]{{2}})?)|[A-Za-z0-9][A-Za-z0-9.:@_%~\-]{{0,255}}+){_PATH}"
_URL = re.compile(r"(?:[hH](?:[tT][tT]|[xX][xX])[pP][sS]?|[fF][tT][pP])://" + _SITE)
_WEB = re.compile(r"(?<![A-Za-z0-9.])(?:www|WWW)\." + _SITE)
_DOMAIN = re.compile(
    rf"(?<![A-Za-z0-9@._/\-])(?:{_HOST}(?<=[A-Za-z0-9\-][A-Za-z0-9]\.)"
    r"(?:com|net|org|kr|io|info|biz|edu|gov|app|dev|xyz|shop|jp|cn|uk|de|fr|eu)(?![A-Za-z0-9\-])(?!\.[A-Za-z0-9])"
    rf"|{_HOST}(?:me|be|ly|gg|tv|co|to|us)(?=/[A-Za-z0-9])){_PATH}"
)


def _urls(text: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    for match in pattern.finditer(text):
        found = match[0]
        brackets = {")": found.count(")") - found.count("("), "]": found.count("]") - found.count("[")}
        end = len(found)
        while found[end - 1] in ".,;:!?'*~" or brackets.get(found[end - 1], 0) > 0:  # the sentence's, not the address's
            end -= 1
            if found[end] in brackets:
                brackets[found[end]] -= 1
        yield Span(match.start(), match.start() + end, "url")


_HANDLE = re.compile(
    r"(?<![A-Za-z0-9_%+@/*\-])@(?P<name>[A-Za-z_][A-Za-z0-9_]*+(?:[.\-][A-Za-z0-9_]++)*+)"
    r"(?:@(?:[A-Za-z0-9-]++\.){1,4}[A-Za-z]{2,24})?(?![/(][A-Za-z\"']| ?=)"
)
_CODE_WORDS = frozenset(
    "Override Deprecated SuppressWarnings Test Autowired Entity param return returns throws author see since property classmethod "
    "staticmethod abstractmethod dataclass media import charset keyframes include font-face supports interface end implementation "
    "echo synthesize selector autoreleasepool try catch finally".split()
)
_MAIL_HOST = re.compile(r"\.(?:com|net|org|kr|jp|cn)$")
"""`@naver.com`: what is left of an address whose first part was taken out."""
_DECORATED = re.compile(r"[^\n]{0,200}\n[ \t]{0,40}(?:@|(?:async )?def |class |public |private |protected |static |function |export |fun )")


def _handles(text: str) -> Iterator[Span]:
    """`@name`; not the decorators and annotations of code."""
    for match in _HANDLE.finditer(text):
        begin, name = match.start(), match["name"]
        first = not text[max(0, begin - 40) : begin].rpartition("\n")[2].strip()
        if name in _CODE_WORDS or len(name) < 2 or _MAIL_HOST.search(name) or (first and _DECORATED.match(text, match.end())):
            continue
        yield Span(begin, match.end(), "handle")
