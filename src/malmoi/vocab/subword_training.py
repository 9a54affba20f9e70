"""Texts -> the pieces of a subword vocabulary, the same for the same texts in any order of hashing.

The engine's trainers number what they meet in the order of a hash that is drawn anew in every process. So the words are counted here,
the alphabet is fixed here, and the trainers are given both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import SubwordSpec
from malmoi.vocab.lookup import GPT2_PARTS
from malmoi.vocab.marks import SUBWORD_MARKS
from malmoi.vocab.tokenizer_file import BYTES, nfc, normalizer, pre_tokenizer, write
from malmoi.vocab.unigram import learn

CHUNK = 10_000


def train(texts: Iterable[str], spec: SubwordSpec) -> str:
    """The tokenizer.json of a vocabulary of at most `spec.size` pieces. Memory grows with the number of different words only.

    Raises MalmoiError M009 for a size that has no room for the marks and the bytes.
    """
    fixed = len(SUBWORD_MARKS) + (0 if spec.algorithm == "wordpiece" else len(BYTES))
    room = spec.size - fixed
    if room < 0:
        problem = f"marks and bytes alone are {fixed} pieces"
        raise MalmoiError("M009", argument="subwords.size", value=spec.size, problem=problem, next="raise it; 8,000 to 50,000 is usual.")
    words = count_pretokens(texts, spec)
    if spec.algorithm == "byte_bpe":
        return _byte_bpe(words, spec)
    alphabet = _alphabet(words, spec, room // 2 if spec.algorithm == "wordpiece" else room)
    known = {word: count for word, count in words.items() if alphabet.issuperset(word)}
    make = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}[spec.algorithm]
    return make(known, spec)


def count_pretokens(texts: Iterable[str], spec: SubwordSpec) -> Counter[str]:
    """How often each part occurs that is cut into pieces by itself."""
    split: Callable[[str], list[str]] = GPT2_PARTS.findall if spec.algorithm == "byte_bpe" else str.split
    parts: Counter[str] = Counter()
    for text in texts:
        parts.update(split(nfc(text)))
    normal, before = normalizer(spec), pre_tokenizer(spec)
    found: Counter[str] = Counter()
    for part, count in parts.items():
        for word, _ in before.pre_tokenize_str(normal.normalize_str(part)):
            found[word] += count
    return found


def _alphabet(words: Counter[str], spec: SubwordSpec, room: int) -> set[str]:
    """The characters seen at least `minimum_count` times, the most frequent `room` of them."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    ranked = sorted((character for character, count in counts.items() if count >= spec.minimum_count), key=lambda one: (-counts[one], one))
    return set(ranked[:room])


def _wordpiece(words: dict[str, int], spec: SubwordSpec) -> str:
    inside = sorted({f"##{character}" for word in words for character in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=spec.size, min_frequency=spec.minimum_count, special_tokens=[*SUBWORD_MARKS, *inside], show_progress=False
    )
    model = _trained(models.WordPiece(unk_token=SUBWORD_MARKS[1]), trainer, words)
    return write(models.WordPiece(model["vocab"], unk_token=SUBWORD_MARKS[1]), spec)


def _bpe(words: dict[str, int], spec: SubwordSpec) -> str:
    trainer = trainers.BpeTrainer(
        vocab_size=spec.size - len(BYTES), min_frequency=spec.minimum_count, special_tokens=[*SUBWORD_MARKS], show_progress=False
    )
    model = _trained(models.BPE(), trainer, words)
    learned = [piece for piece in sorted(model["vocab"], key=model["vocab"].__getitem__) if piece not in SUBWORD_MARKS]
    vocabulary = {piece: id for id, piece in enumerate([*SUBWORD_MARKS, *BYTES, *learned])}
    merges = [tuple(merge) for merge in model["merges"]]
    return write(models.BPE(vocabulary, merges, byte_fallback=True, unk_token=SUBWORD_MARKS[1]), spec)


def _byte_bpe(words: dict[str, int], spec: SubwordSpec) -> str:
    trainer = trainers.BpeTrainer(
        vocab_size=spec.size,
        min_frequency=spec.minimum_count,
        special_tokens=[*SUBWORD_MARKS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model = _trained(models.BPE(), trainer, words)
    return write(models.BPE(model["vocab"], [tuple(merge) for merge in model["merges"]]), spec)


def _unigram(words: dict[str, int], spec: SubwordSpec) -> str:
    learned = learn(words, spec.size - len(SUBWORD_MARKS) - len(BYTES))
    lowest = min((score for _, score in learned), default=0.0)
    pieces = [*((mark, 0.0) for mark in SUBWORD_MARKS), *((byte, lowest) for byte in BYTES), *learned]
    return write(models.Unigram(pieces, unk_id=1, byte_fallback=True), spec)


def _trained(model: models.Model, trainer: trainers.Trainer, words: dict[str, int]) -> dict[str, Any]:
    """What a trainer makes of counted words: the model as JSON values."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("\n")
    tokenizer.train_from_iterator(_repeated(words), trainer)
    found: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return found


def _repeated(words: dict[str, int]) -> Iterator[str]:
    """Each word as often as it was counted, some thousands a string: the only way to tell a trainer a count."""
    each = (word for word in sorted(words) for word in repeat(word, words[word]))
    while chunk := list(islice(each, CHUNK)):
        yield "\n".join(chunk)
