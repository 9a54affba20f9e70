"""The ids of malmoi and of transformers' AutoTokenizer are equal, on mixed Korean, English, emoji and decomposed text.

The installed transformers is the oracle; `test_transformers_4.py` runs this file and test_parity.py against another major version.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from malmoi.export.foreign import read_transformers
from malmoi.export.imported import shapes_of
from malmoi.vocab import Subwords

transformers = pytest.importorskip("transformers")

ALGORITHMS = ("wordpiece", "bpe", "byte_bpe", "unigram")
MIXED = [
    "안녕하세요, 말모이 사전입니다!",
    unicodedata.normalize("NFD", "낱말을 모으고 naïve café"),
    "The quick 갈색 fox, 3.14% of 42km",
    "😀 웃는 얼굴 👩‍👩‍👧 과 🇰🇷",
    "없는 글자 ᄀᄁ 漢字 Ω≈ç√ \u200b zero",
    "  white   space\tand\nlines ",
    "",
    "UPPER lower ÀÉÎ",
]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("family", ["bert", "albert", "distilbert", "gpt2", "openai-gpt"])
def test_token_ids(algorithm: str, family: str, subwords: Any, export: Any) -> None:
    vocabulary = subwords(algorithm)
    out = export(family, vocabulary=vocabulary)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    marks, causal = vocabulary.marks, family in ("gpt2", "openai-gpt")
    ours = [vocabulary.encode(text).tolist() for text in MIXED]
    end = [] if causal else [marks.end]
    assert tokenizer(MIXED, add_special_tokens=False)["input_ids"] == ours
    assert tokenizer(MIXED)["input_ids"] == [[marks.begin, *ids, *end] for ids in ours]
    typed = family in ("bert", "albert")
    for one, other, text, pair in zip(ours, ours[1:], MIXED, MIXED[1:], strict=False):
        if not text or not pair:  # transformers takes an empty second text for none
            continue
        both = tokenizer(text, pair)
        assert ("token_type_ids" in both) is typed
        if not causal:
            assert both["input_ids"] == [marks.begin, *one, marks.end, *other, marks.end]
        if typed:
            assert both["token_type_ids"] == [0] * (len(one) + 2) + [1] * (len(other) + 1)
    padded = tokenizer(MIXED, padding=True, return_tensors="pt")
    assert padded["input_ids"].max() < len(vocabulary) and tokenizer.pad_token_id == marks.pad
    assert (tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id) == (marks.mask, marks.begin, marks.end)
    assert tokenizer.model_max_length == 40 and len(tokenizer) == len(vocabulary)
    korean = tokenizer(MIXED[0], add_special_tokens=False)["input_ids"]
    assert marks.unknown not in korean and "말모이" in tokenizer.decode(korean).replace(" ", "")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_tokenizer_comes_back_as_it_was(algorithm: str, subwords: Any, export: Any) -> None:
    vocabulary = subwords(algorithm)
    out = export("bert", vocabulary=vocabulary)
    read = read_transformers(out, shapes=shapes_of).vocabulary
    assert read.fingerprint == vocabulary.fingerprint and read.marks.ids == vocabulary.marks.ids
    assert [read.encode(text).tolist() for text in MIXED] == [vocabulary.encode(text).tolist() for text in MIXED]


def test_generation_goes_on_from_the_prompt(subwords: Any, export: Any) -> None:
    vocabulary = subwords("byte_bpe")
    out = export("gpt2", vocabulary=vocabulary)
    model, tokenizer = transformers.GPT2LMHeadModel.from_pretrained(out), transformers.AutoTokenizer.from_pretrained(out)
    prompt = tokenizer("말모이", return_tensors="pt")
    made = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    assert made[0, : prompt["input_ids"].shape[1]].tolist() == [vocabulary.marks.begin, *vocabulary.encode("말모이").tolist()]
    assert model.generation_config.eos_token_id == vocabulary.marks.end


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_tokenizer_that_they_saved_is_read(algorithm: str, subwords: Any, export: Any, tmp_path: Path) -> None:
    """save_pretrained of either version writes other names and files than malmoi; the ids and the marks stay."""
    vocabulary = subwords(algorithm)
    out = export("bert", vocabulary=vocabulary)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    tokenizer.save_pretrained(tmp_path / "theirs")
    for file in ("config.json", "model.safetensors"):
        (tmp_path / "theirs" / file).write_bytes((out / file).read_bytes())
    read = read_transformers(tmp_path / "theirs", shapes=shapes_of).vocabulary
    assert read.marks.ids == vocabulary.marks.ids
    assert [read.encode(text).tolist() for text in MIXED] == tokenizer(MIXED, add_special_tokens=False)["input_ids"]


def test_a_class_that_is_forced_gives_the_same_ids(subwords: Any, export: Any) -> None:
    """BertTokenizer builds a normalizer of its own from tokenizer_config.json: what stands there must be true."""
    vocabulary = subwords("wordpiece")
    out = export("bert", vocabulary=vocabulary)
    forced = transformers.BertTokenizerFast.from_pretrained(out)
    for text in ("안녕하세요, 말모이 사전입니다!", "The Quick fox, naïve café"):
        assert forced(text, add_special_tokens=False)["input_ids"] == vocabulary.encode(text).tolist()


def test_a_tokenizer_without_nfc_gets_it(subwords: Any, export: Any) -> None:
    """A run brings text to NFC whatever its tokenizer says; so does what is written of an imported one."""
    ours = subwords("wordpiece")
    content = json.loads(ours.json)
    for number, normalizer in enumerate([None, {"type": "Lowercase"}, {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}]):
        vocabulary = Subwords.of(json.dumps({**content, "normalizer": normalizer}), ours.marks)
        out = export("bert", vocabulary=vocabulary, place=str(number))
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
        ids = tokenizer(MIXED, add_special_tokens=False)["input_ids"]
        assert ids == [vocabulary.encode(text).tolist() for text in MIXED]
        assert ids == [read_transformers(out, shapes=shapes_of).vocabulary.encode(text).tolist() for text in MIXED]
