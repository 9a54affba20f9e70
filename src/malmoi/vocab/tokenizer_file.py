"""tokenizer.json: how each algorithm cuts text, written with the engine `tokenizers` so that other programs read the same file.

Every algorithm cuts at white space and around every mark of punctuation first, so no piece reaches over a word, and none over marks
that a user writes, such as the letters `[MASK]`. Byte-level BPE cuts as GPT-2 does and keeps white space.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from malmoi.core.recipe import SubwordSpec
from malmoi.vocab.marks import SUBWORD_MARKS

SPACE = "▁"  # what SentencePiece writes for the space before a word
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""Pieces of byte fallback, the names that SentencePiece gave them."""
PUNCTUATION = rf"{SPACE}?[\p{{P}}$+<=>^`|~]"  # with the ASCII symbols that BERT counts as punctuation, each by itself
SURROGATE = re.compile("[\ud800-\udfff]")


def nfc(text: str) -> str:
    """NFC; half of a surrogate pair, which no file in UTF-8 can hold, becomes U+FFFD."""
    return text if text.isascii() else SURROGATE.sub("\ufffd", unicodedata.normalize("NFC", text))


def normalizer(spec: SubwordSpec) -> normalizers.Normalizer:
    """NFC, and lower case where it is asked for; never NFD, no accents stripped."""
    return normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]) if spec.lowercase else normalizers.NFC()


def pre_tokenizer(spec: SubwordSpec) -> pre_tokenizers.PreTokenizer:
    """Text -> what is cut into pieces: BERT's words and punctuation, GPT-2's, or words with the space sign and punctuation."""
    if spec.algorithm == "wordpiece":
        return pre_tokenizers.BertPreTokenizer()
    if spec.algorithm == "byte_bpe":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=False)]
    return pre_tokenizers.Sequence([*words, pre_tokenizers.Split(Regex(PUNCTUATION), "isolated")])


def write(model: models.Model, spec: SubwordSpec) -> str:
    """The tokenizer.json of a trained model: [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with token types 0 and 1."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer(spec), pre_tokenizer(spec)
    if spec.algorithm == "wordpiece":
        tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    elif spec.algorithm == "byte_bpe":
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(replacement=SPACE, prepend_scheme="always")])
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in SUBWORD_MARKS])
    begin, end = SUBWORD_MARKS[2:4]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin}:0 $A:0 {end}:0",
        pair=f"{begin}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(mark, SUBWORD_MARKS.index(mark)) for mark in (begin, end)],
    )
    return str(tokenizer.to_str())


def engine(tokenizer_json: str) -> Tokenizer:
    """The tokenizer as malmoi runs it: NFC is done before, marks never come from text, nothing is padded or cut off."""
    content = json.loads(tokenizer_json)
    content["normalizer"] = _without_nfc(content.get("normalizer"))
    content["truncation"] = content["padding"] = None
    tokenizer = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    tokenizer.encode_special_tokens = True
    return tokenizer


def continuing(content: dict[str, Any], pieces: Sequence[str]) -> list[bool] | None:
    """Which pieces go on with the word before them; None for a tokenizer whose pieces do not tell.

    WordPiece: those with its prefix. Pieces with a space sign: those without one that do not begin with punctuation, which always stands
    by itself; single bytes go on. The first piece of a text is the beginning of a word whatever it says here.
    """
    parts = set(re.findall(r'"type": "(\w+)"', json.dumps([content.get("pre_tokenizer"), content.get("decoder")])))
    if content["model"]["type"] == "WordPiece":
        return [piece.startswith(content["model"].get("continuing_subword_prefix", "##")) for piece in pieces]
    if "ByteLevel" in parts:
        return [_goes_on(_readable(piece)) for piece in pieces]
    if "Metaspace" in parts:
        return [piece in BYTES or _goes_on(piece) for piece in pieces]
    return None


def split_kind(content: dict[str, Any]) -> Literal["white_space", "gpt2"] | None:
    """How a text may be cut so that its parts give the ids of the whole: at white space, as GPT-2 does, or (None) not at all."""
    normal = _without_nfc(content.get("normalizer"))
    plain = normal is None or normal["type"] in ("Lowercase", "BertNormalizer")
    before = content.get("pre_tokenizer") or {}
    if not plain or not all(token["special"] for token in content["added_tokens"]):
        return None
    if before.get("type") == "BertPreTokenizer":
        return "white_space"
    if before.get("type") == "Sequence" and before["pretokenizers"][0]["type"] == "WhitespaceSplit":
        return "white_space"
    gpt2 = before.get("type") == "ByteLevel" and not before["add_prefix_space"] and before.get("use_regex", True)
    return "gpt2" if gpt2 else None


def _without_nfc(normal: dict[str, Any] | None) -> dict[str, Any] | None:
    if normal is not None and normal["type"] == "Sequence" and normal["normalizers"] and normal["normalizers"][0]["type"] == "NFC":
        rest = normal["normalizers"][1:]
        return rest[0] if len(rest) == 1 else {**normal, "normalizers": rest} if rest else None
    return None if normal is not None and normal["type"] == "NFC" else normal


def _goes_on(piece: str) -> bool:
    first = piece[:1]
    return first != SPACE and not first.isspace() and unicodedata.category(first or "a")[0] not in "PSZ" and first not in "$+<=>^`|~"


def _readable(piece: str) -> str:
    """A byte-level piece as text; bytes that begin inside of a character give U+0000, which goes on."""
    known = _byte_of_sign()
    if not all(sign in known for sign in piece):
        return piece
    text = bytes(known[sign] for sign in piece).decode("utf-8", "replace")
    return "\0" if text[:1] == "\ufffd" else text


@cache
def _byte_of_sign() -> dict[str, int]:
    """GPT-2's table: printable bytes of Latin-1 stand for themselves, the others for the characters from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + place): byte for place, byte in enumerate(others)}
