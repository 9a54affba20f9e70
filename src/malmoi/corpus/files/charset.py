"""Which character set bytes are in: what is declared, strict UTF-8, strict CP949, a detector. Never a lossy reading.

Labels mean what browsers take them for (WHATWG Encoding Standard, section 4.2): `euc-kr` is CP949, `iso-8859-1` is Windows-1252.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from malmoi.core.errors import MalmoiError

_LABELS = {
    "utf-8": "utf8 utf-8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8",
    "cp949": "euc-kr euckr cseuckr cp949 ms949 uhc windows-949 x-windows-949 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 "
    "ksc_5601 ks-c-5601 ks_c_5601 iso-ir-149 csksc56011987",
    "johab": "johab cp1361 ms1361",
    "iso2022_kr": "iso-2022-kr csiso2022kr",
    "cp1252": "ascii us-ascii ansi_x3.4-1968 iso-8859-1 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 latin1 latin-1 l1 cp819 ibm819 "
    "iso-ir-100 csisolatin1 windows-1252 cp1252 x-cp1252",
    "cp1254": "iso-8859-9 iso8859-9 iso88599 latin5 l5 windows-1254 cp1254 x-cp1254",
    "cp874": "tis-620 iso-8859-11 iso8859-11 dos-874 windows-874",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji csshiftjis ms932 cp932 windows-31j",
    "euc_jp": "euc-jp eucjp x-euc-jp cseucpkdfmtjapanese",
    "iso2022_jp": "iso-2022-jp csiso2022jp",
    "gb18030": "gb2312 gb_2312 gb_2312-80 csgb2312 csiso58gb231280 iso-ir-58 chinese gbk x-gbk cp936 gb18030",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5 cp950",
    "koi8_u": "koi8-u koi8-ru",
    "koi8_r": "koi8-r koi8 koi koi8_r cskoi8r",
    "utf-16-le": "utf-16 utf-16le unicode ucs-2 iso-10646-ucs-2 csunicode unicodefeff",
    "utf-16-be": "utf-16be unicodefffe",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
_OTHERS = re.compile(r"(?:windows-|cp|x-cp)(125[0-8])|iso[-_]?8859[-_](\d{1,2})(?:-[ie])?")

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HEAD = 4096
"""Bytes of a page in which its own declaration is looked for (browsers look at 1,024)."""
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"""<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([\w:.-]+)|<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w:.-]+)""", re.IGNORECASE)

_FREQUENT = frozenset(
    "이다에의는하로을가고지한서은기대으를사시도리인스년자어일아나있라수전부그정되해과국었제들주성적여상동장구했와게였공위원만학보조선중며세신교월소화유"
    "문경우트마비개드미계후명것용관치오진역등면연된모회영러르군발당무터방프재산거생통작단데분반니타체노간행차내민음안할요바운때카포실레물식크함호"
    "본법파던설현속결종양강히남형두출야력려표임토루합각승키건권않직업태불입독까또점래격약받초예코았록항같배천없최말버디ㅋㅎㅠㅜ"
)
"""The syllables that make up 91% of Korean Wikipedia, and the letters of laughter and tears."""
_PLAUSIBLE = 0.15
"""Smallest share of them among the Hangul of Korean text: it is near 0.8; other character sets read as CP949 give less than 0.1."""
_PAIRS = re.compile(rb"(?:[\xb0-\xc8][\xa1-\xfe]){2}")
"""Two syllables of KS X 1001: as Western text, four accented letters and marks in a row."""

_CANDIDATES = (
    "cp932 euc_jp gb18030 big5hkscs johab cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 koi8_r iso8859_2 iso8859_5"
).split()
_WIDE = {"cp932", "euc_jp", "gb18030", "big5hkscs", "johab"}
_TYPOGRAPHIC = bytes([0x85, *range(0x91, 0x98), 0xA0, 0xA9, 0xAB, 0xAE, 0xB7, 0xBB])
"""Quotation marks, dashes, dots and (c), which stand in the same places in Windows-1250 to 1258."""
_SAMPLE = 1 << 16
_LEAST = 24
"""Bytes outside ASCII that a detector needs to be trusted."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, and the codec (a Python name) that it was decoded with."""

    text: str
    charset: str


def decode(data: bytes, *, declared: str | None = None, html: bool = False, prefer: str | None = None) -> Decoded | None:
    """`data` as text, every byte of it valid; None if no character set is certain (then nothing of it may be used).

    The first that fits: a byte order mark; `prefer` (a codec, decided for the whole file); the label `declared` by the server; for
    `html` the one in the page; strict UTF-8; strict CP949 that reads as Korean; a detector that is sure. A label of a one-byte
    character set, which fits almost any bytes, gives way to valid UTF-8 and, if it is Western, to plain Korean.
    Raises MalmoiError M005 if the detector is needed and not installed (extra `corpus`).
    """
    for mark, codec in _MARKS:
        if data.startswith(mark) and (text := strict(data[len(mark) :], codec)) is not None:
            return Decoded(text, codec)
    for told in (prefer, codec_of(declared), declared_inside(data) if html else None):
        if told and not _overruled(told, data) and (text := strict(data, told)) is not None:
            return Decoded(text, told)
    if (text := strict(data, "utf-8")) is not None:
        return Decoded(text, "utf-8")
    if (text := strict(data, "cp949")) is not None and korean(text):
        return Decoded(text, "cp949")
    return _detected(data)


def codec_of(label: str | None) -> str | None:
    """The codec that browsers take for a label; None for an empty or unknown one."""
    name = (label or "").strip().strip("\"'").lower()
    if name in _CODECS:
        return _CODECS[name]
    if found := _OTHERS.fullmatch(name):
        codec = f"cp{found[1]}" if found[1] else f"iso8859_{found[2]}"
        try:
            return codecs.lookup(codec).name.replace("-", "_")
        except LookupError:
            return None
    return None


def declared_inside(data: bytes) -> str | None:
    """The codec of the character set that a page declares in its first bytes: `<meta charset>`, `<meta http-equiv>`, `<?xml encoding?>`."""
    for found in _META.finditer(_COMMENT.sub(b"", data[:_HEAD])):
        if codec := codec_of((found[1] or found[2]).decode("ascii", "ignore")):
            return "utf-8" if codec.startswith("utf-16") else codec  # it could not be read as ASCII otherwise
    return None


def strict(data: bytes, codec: str) -> str | None:
    """`data` decoded without a single error, or None. A byte order mark is taken away."""
    try:
        return data.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None


def korean(text: str) -> bool:
    """Whether the Hangul of a text is such as Koreans write (true if it holds none)."""
    hangul = [letter for letter in text[:_SAMPLE] if "가" <= letter <= "힣" or "ㄱ" <= letter <= "ㅣ"]
    return sum(letter in _FREQUENT for letter in hangul) >= _PLAUSIBLE * len(hangul)


def _overruled(codec: str, data: bytes) -> bool:
    """Whether a label that fits almost any bytes is contradicted by them."""
    if not codec.startswith(("cp125", "iso8859", "koi8", "cp874")):
        return False
    if strict(data, "utf-8") is not None:
        return True
    return codec == "cp1252" and bool(_PAIRS.search(data)) and (text := strict(data, "cp949")) is not None and korean(text)


def _detected(data: bytes) -> Decoded | None:
    """What charset-normalizer is sure of: without disorder, and with no second reading of equal rank."""
    if data.translate(None, _TYPOGRAPHIC).isascii():
        return Decoded(data.decode("cp1252"), "cp1252")
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise MalmoiError("M005", what="telling character sets apart", package="charset-normalizer", extra="corpus") from None
    sample = data[:_SAMPLE] if len(data) <= _SAMPLE else data[: data.rfind(b"\n", 0, _SAMPLE) + 1 or _SAMPLE]
    if b"\0" in data or len(sample) - len(sample.translate(None, bytes(range(128, 256)))) < _LEAST:
        return None
    matches = [
        match for match in from_bytes(sample, cp_isolation=_CANDIDATES) if match.chaos <= (0.05 if match.encoding in _WIDE else 0.02)
    ]
    if not matches:
        return None
    best = matches[0]
    readings = {str(match): match.coherence for match in reversed(matches)}
    rivals = [coherence for reading, coherence in readings.items() if reading != str(best)]
    wide = best.encoding in _WIDE
    if not wide and (best.coherence < 0.5 or max(rivals, default=0) > best.coherence - 0.03):
        return None
    if wide and any(match.encoding in _WIDE and str(match) != str(best) for match in matches):
        return None
    found = strict(data, best.encoding)
    if found is not None and 4 * sum("｡" <= letter <= "ﾟ" for letter in found) > len(found):
        return None  # half-width katakana, the one-byte letters of CP932, fit almost any bytes
    return None if found is None else Decoded(found, best.encoding)
