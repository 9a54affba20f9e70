"""tokenizer.json and tokenizer_config.json as transformers 4 and 5 both read them, and the marks of someone else's.

`tokenizer_class` is PreTrainedTokenizerFast, the one class that leaves tokenizer.json as it is: BertTokenizer of version 5 builds another
normalizer, which takes Hangul apart and lowers case; and version 5's own name for it is unknown to version 4. Without
`model_input_names` no token types come out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from malmoi.core.errors import MalmoiError
from malmoi.core.marks import Marks
from malmoi.export.tensors import unreadable
from malmoi.vocab import Subwords

FILE, CONFIG, MAP = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
NAMES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")


def tokenizer_files(vocabulary: Subwords, *, length: int, types: bool, causal: bool) -> dict[str, str]:
    """File name -> content. length: the longest text in tokens; causal: a text gets the beginning mark only, so that it can go on."""
    content = json.loads(vocabulary.json)
    content["truncation"] = content["padding"] = None
    content["normalizer"] = _nfc_first(content.get("normalizer"))
    if causal:
        content["post_processor"] = _open_ended(content.get("post_processor"), vocabulary)
    inputs = ["input_ids", *(["token_type_ids"] if types else []), "attention_mask"]
    lowers, strips = _normalizes(content.get("normalizer"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": inputs,
        "model_max_length": length,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "do_lower_case": lowers,
        "strip_accents": strips,
    }
    marks, tokens = vocabulary.marks, vocabulary.tokens
    named = {"pad": marks.pad, "unk": marks.unknown, "cls": marks.begin, "sep": marks.end, "mask": marks.mask}
    if causal:
        named |= {"bos": marks.begin, "eos": marks.end}
    for name, id in named.items():
        if id is not None:
            config[f"{name}_token"] = tokens[id]
    return {FILE: json.dumps(content, ensure_ascii=False, indent=1), CONFIG: json.dumps(config, ensure_ascii=False, indent=1)}


def read_tokenizer(directory: Path, config: Mapping[str, Any]) -> Subwords:
    """The vocabulary of a directory with tokenizer.json. config: its config.json, for ids of marks that the tokenizer does not name.

    Raises MalmoiError M053 for a directory without tokenizer.json or one that cannot be read, M054 for code from elsewhere.
    """
    path = directory / FILE
    if not path.is_file():
        slow = next((name for name in ("vocab.txt", "vocab.json", "spiece.model", "tokenizer.model") if (directory / name).is_file()), None)
        problem = f"it has no {FILE}" + (f", only {slow} of a slow tokenizer" if slow else "")
        convert = "\"from transformers import AutoTokenizer as T; T.from_pretrained('DIR').save_pretrained('DIR')\""
        raise unreadable(directory, problem, f"write one: python -c {convert}")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        ids = _ids(content)
        named = dict(_named(directory))
        vocabulary = Subwords.of(text, _marks(content, named, ids, config))
    except MalmoiError:
        raise
    except Exception as failure:  # the engine raises Exception itself
        raise unreadable(path, f"it cannot be read as a tokenizer ({failure})", "write it with save_pretrained again.") from None
    return vocabulary


def _open_ended(post: dict[str, Any] | None, vocabulary: Subwords) -> dict[str, Any] | None:
    """[CLS] A [SEP] -> [CLS] A, where the template is ours; a tokenizer from elsewhere keeps its own."""
    begin, end = vocabulary.tokens[vocabulary.marks.begin], vocabulary.tokens[vocabulary.marks.end]
    if post is None or post.get("type") != "TemplateProcessing" or begin == end:
        return post
    found = {
        kind: [part for part in post[kind] if part.get("SpecialToken", {}).get("id") != end] if kind == "single" else post[kind]
        for kind in ("single", "pair")
    }
    return {**post, **found}


def _nfc_first(normalizer: dict[str, Any] | None) -> dict[str, Any]:
    """A tokenizer from elsewhere reads here what NFC made of the text, so the file must say it."""
    parts = [] if normalizer is None else normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    if normalizer is not None and parts and parts[0]["type"] == "NFC":
        return normalizer
    return {"type": "Sequence", "normalizers": [{"type": "NFC"}, *parts]} if parts else {"type": "NFC"}


def _normalizes(normalizer: Any) -> tuple[bool, bool]:
    """Whether a tokenizer lowers case, and whether it strips accents."""
    parts = list(_parts(normalizer))
    lowers = any(part["type"] == "Lowercase" or part.get("lowercase") for part in parts)
    strips = any(part["type"] == "StripAccents" for part in parts)
    for part in parts:
        if part["type"] == "BertNormalizer":
            strips |= bool(part.get("lowercase") if part.get("strip_accents") is None else part["strip_accents"])
    return lowers, strips


def _parts(normalizer: Any) -> Iterator[dict[str, Any]]:
    if isinstance(normalizer, dict):
        yield normalizer
        for child in normalizer.get("normalizers", []):
            yield from _parts(child)


def _ids(content: dict[str, Any]) -> dict[str, int]:
    vocabulary = content["model"]["vocab"]
    found = dict(vocabulary) if isinstance(vocabulary, dict) else {piece: id for id, (piece, _) in enumerate(vocabulary)}
    return found | {token["content"]: token["id"] for token in content.get("added_tokens", [])}


def _named(directory: Path) -> Iterator[tuple[str, str]]:
    """("pad", "[PAD]") and so on: the map of special tokens first, what the tokenizer's config says wins."""
    for file in (MAP, CONFIG):
        path = directory / file
        if not path.is_file():
            continue
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as failure:
            raise unreadable(path, f"it is not JSON ({failure})", "write it with save_pretrained again.") from None
        if found.get("auto_map"):
            raise MalmoiError(
                "M054", path=path, field="auto_map", value="set", problem="it asks for code from elsewhere, and nothing foreign is run"
            )
        for name in NAMES:
            token = found.get(f"{name}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                yield name, token


def _marks(content: dict[str, Any], named: Mapping[str, str], ids: Mapping[str, int], config: Mapping[str, Any]) -> Marks:
    """The marks by name, then by the ids of config.json, then the nearest: GPT-2's one mark is begin, end, unknown and padding."""

    def find(*names: str) -> int | None:
        for name in names:
            if named.get(name) in ids:
                return ids[named[name]]
            id = config.get(f"{name}_token_id")
            if isinstance(id, int) and not isinstance(id, bool) and id in known:
                return id
        return None

    known = set(ids.values())
    own = content["model"].get("unk_token")
    own_id = content["model"].get("unk_id")
    unknown = find("unk")
    if unknown is None:
        unknown = ids.get(own) if isinstance(own, str) else own_id
    begin, end = find("cls", "bos"), find("sep", "eos")
    begin, end = (end if begin is None else begin), (begin if end is None else end)
    unknown = end if unknown is None else unknown
    begin, end = (unknown if begin is None else begin), (unknown if end is None else end)
    pad = find("pad")
    if unknown is None or begin is None or end is None:
        raise ValueError("it names neither an unknown token nor one that begins or ends a text")
    return Marks(pad=end if pad is None else pad, unknown=unknown, begin=begin, end=end, mask=find("mask"))
