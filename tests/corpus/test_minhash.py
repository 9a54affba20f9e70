"""Signatures against sets of n-grams in plain Python."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.corpus import minhash
from malmoi.corpus.minhash import FEWEST, alike, normalized, signatures

TEXTS = st.lists(st.text(st.sampled_from("가나다라 ab\n.1é\u0301\ud800😀"), max_size=60), max_size=8)


def plain(text: str) -> str:
    """The oracle of `normalized`: words of letters, marks and digits, each after a blank."""
    letters = [chr(int(minhash._table()[ord(letter)])) if minhash._table()[ord(letter)] else " " for letter in text]
    return "".join(" " + word for word in "".join(letters).split(" ") if word)


def shown(letters: np.ndarray) -> str:
    return "".join(map(chr, letters)).replace("\0", " ")


def grams(text: str, ngram: int = 5) -> set[str]:
    letters = plain(text)
    return {letters[place : place + ngram] for place in range(len(letters) - ngram + 1)}


def jaccard(left: str, right: str) -> float:
    return len(grams(left) & grams(right)) / len(grams(left) | grams(right))


def prose(words: int, *, seed: int) -> list[str]:
    source = random.Random(seed)
    return ["".join(chr(0xAC00 + source.randrange(2000)) for _ in range(source.randint(2, 4))) for _ in range(words)]


def edited(words: list[str], share: float, *, seed: int) -> list[str]:
    source, fresh = random.Random(seed), prose(len(words), seed=seed + 1000)
    out = list(words)
    for place in source.sample(range(len(words)), round(share * len(words))):
        out[place] = fresh[place]
    return out


@given(TEXTS)
def test_normalized_is_plain_python(texts):
    letters, starts = normalized(texts)
    assert [shown(letters[begin:end]) for begin, end in zip(starts, starts[1:], strict=False)] == [plain(text) for text in texts]


def test_letters_of_all_planes_are_kept_in_lower_case():
    letters, _ = normalized(["Ａ É\u0301Ǆ 각 가 漢𠀀 ٣ — ☃😀"])
    assert shown(letters) == " ａ é\u0301ǆ 각 가 漢𠀀 ٣"


@given(TEXTS, st.integers(2, 7))
def test_signature_of_a_text_does_not_depend_on_its_neighbours(texts, ngram):
    together = signatures(texts, ngram=ngram, bands=3, rows=2)
    for number, text in enumerate(texts):
        alone = signatures([text], ngram=ngram, bands=3, rows=2)
        assert (alone[0][0] == together[0][number]).all() and (alone[1][0] == together[1][number]).all()
        assert bool(alone[0].any()) == (len(plain(text)) - ngram + 1 >= FEWEST)


def test_long_texts_are_worked_on_in_pieces_with_the_same_result(monkeypatch):
    texts = [" ".join(prose(count, seed=count)) for count in (3, 400, 9, 0, 50, 2000)]
    whole = signatures(texts, ngram=5, bands=4, rows=3)
    monkeypatch.setattr(minhash, "BLOCK", 37)
    monkeypatch.setattr(minhash, "BATCH", 100)
    pieces = signatures(texts, ngram=5, bands=4, rows=3)
    assert (whole[0] == pieces[0]).all() and (whole[1] == pieces[1]).all()


@pytest.mark.parametrize("words", [30, 300])
def test_estimates_are_those_of_independent_permutations(words):
    exact, estimated = [], []
    for seed in range(150):
        left = prose(words, seed=seed)
        right = edited(left, (0.03, 0.1, 0.3)[seed % 3], seed=seed)
        exact.append(jaccard(" ".join(left), " ".join(right)))
        _, sketches = signatures([" ".join(left), " ".join(right)], ngram=5, bands=14, rows=8)
        estimated.append(alike(sketches[:1], sketches[1:])[0])
    exact_N, estimated_N = np.array(exact), np.array(estimated)
    errors = (estimated_N - exact_N) / np.sqrt(exact_N * (1 - exact_N) / 112)
    assert abs(errors.mean()) < 4 / np.sqrt(len(errors)) and 0.8 < errors.std() < 1.2


def test_a_band_is_shared_as_often_as_the_formula_says():
    shared, expected = [], []
    for seed in range(400):
        left = prose(60, seed=seed)
        right = edited(left, (0.05, 0.1, 0.15)[seed % 3], seed=seed)
        bands, _ = signatures([" ".join(left), " ".join(right)], ngram=5, bands=14, rows=8)
        shared.append((bands[0] == bands[1]).any())
        expected.append(1 - (1 - jaccard(" ".join(left), " ".join(right)) ** 8) ** 14)
    spread = np.sqrt(sum(chance * (1 - chance) for chance in expected))
    assert abs(sum(shared) - sum(expected)) < 4 * spread


def test_texts_without_n_grams_in_common_share_nothing():
    texts = [" ".join(prose(40, seed=seed)) for seed in range(500)]
    bands, sketches = signatures(texts, ngram=5, bands=14, rows=8)
    assert len(np.unique(bands)) == bands.size
    assert alike(sketches[:-1], sketches[1:]).max() < 0.1


def test_signatures_stay_what_they_are():
    """Shards that were signed by an older version must not be mixed with new ones: raise NearSpec.version when this changes."""
    bands, sketches = signatures(["말모이는 말을 모은 것이다. The first dictionary, 1911."], ngram=5, bands=2, rows=2)
    assert [f"{band:016x}" for band in bands[0]] == GOLDEN_BANDS
    assert sketches[0].tolist() == GOLDEN_SKETCH


GOLDEN_BANDS = ["ce133b4f36774fa1", "8f961a6be22b8fff"]
GOLDEN_SKETCH = [15, 38, 88, 174]
