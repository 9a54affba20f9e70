from __future__ import annotations

import json
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import CharacterSpec
from malmoi.vocab import Characters

HANGUL = st.text(st.sampled_from("각가나닭a🙂ㅋ\u1100é"), max_size=12)
WORDS = st.lists(st.text(max_size=12) | HANGUL | st.sampled_from(["<S>", "</S>", "<UNK>"]), max_size=8)
UNITS = [("byte", "character"), ("byte", "byte"), ("codepoint", "character"), ("jamo", "character")]


def slow_pieces(word: str, unit: str) -> list[list[object]]:
    """The units of each character of a word, by the standard library."""
    if unit == "byte":
        return [list(part.encode("utf-8", "ignore")) for part in word]
    syllable = [unicodedata.normalize("NFD", part) if unit == "jamo" and "가" <= part <= "힣" else part for part in word]
    return [list(part) for part in syllable]


def slow_spelling(word: str, characters: Characters) -> list[int]:
    """A row, one unit at a time."""
    marks = {"<S>": characters.bos, "</S>": characters.eos}
    row = [characters.begin]
    room = characters.length - 2
    if word in marks:
        row.append(marks[word])
    elif characters.cut == "byte":
        row += word.encode("utf-8", "ignore")[:room]
    else:
        for pieces in slow_pieces(word, characters.unit):
            if len(row) - 1 + len(pieces) > room:
                break
            row += [piece if isinstance(piece, int) else characters.inventory.find(str(piece)) for piece in pieces]
    row = [len(characters.inventory) if unit == -1 else unit for unit in row] + [characters.end]
    return row + [characters.pad] * (characters.length - len(row))


@pytest.mark.parametrize(("unit", "cut"), UNITS)
@given(words=WORDS, length=st.integers(4, 20))
def test_spelling_agrees_with_a_slow_one(unit: str, cut: str, words: list[str], length: int) -> None:
    inventory = "" if unit == "byte" else "가각나a🙂" + unicodedata.normalize("NFD", "각나")
    characters = Characters(unit=unit, length=length, cut=cut, inventory="".join(dict.fromkeys(inventory)))  # type: ignore[arg-type]
    rows = characters.spell(words)
    assert rows.shape == (len(words), length) and rows.dtype == np.uint16
    assert rows.tolist() == [slow_spelling(word, characters) for word in words]
    assert characters.units(words).tolist() == [sum(map(len, slow_pieces(word, unit))) for word in words]


def test_bytes_have_the_ids_of_bilm_tf() -> None:
    characters = Characters(unit="byte", length=10)
    assert characters.size == 261
    assert characters.spell(["of", "<S>", "</S>", "", "가나다", "12345678"]).tolist() == [
        [258, 111, 102, 259, 260, 260, 260, 260, 260, 260],
        [258, 256, 259, 260, 260, 260, 260, 260, 260, 260],
        [258, 257, 259, 260, 260, 260, 260, 260, 260, 260],
        [258, 259, 260, 260, 260, 260, 260, 260, 260, 260],
        [258, 0xEA, 0xB0, 0x80, 0xEB, 0x82, 0x98, 259, 260, 260],
        [258, 49, 50, 51, 52, 53, 54, 55, 56, 259],
    ]
    cut = Characters(unit="byte", length=10, cut="byte")
    assert cut.spell(["가나다"]).tolist() == [[258, 0xEA, 0xB0, 0x80, 0xEB, 0x82, 0x98, 0xEB, 0x8B, 259]]


def test_the_golden_trace_of_bilm_tf_is_spelt_the_same(shared: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="the extra malmoi[hdf5] is not installed")
    folder = shared / "fixtures" / "elmo"
    words = (folder / "bilm-tf" / "train" / "vocab.txt").read_text().split()
    corpus = (folder / "bilm-tf" / "train" / "data.txt").read_text().split()
    characters = Characters(unit="byte", length=10, cut="byte")
    rare = {tuple(row) for row in characters.spell(corpus).tolist()}
    compared = 0
    with h5py.File(folder / "derived" / "golden_train_trace.hdf5") as file:
        for step in (name for name in file if name.startswith("step")):
            for direction in ("", "_reverse"):
                ids = file[step][f"in_token_ids{direction}"][:].ravel()
                golden = file[step][f"in_tokens_characters{direction}"][:].reshape(len(ids), 10)
                known = np.array([words[id] != "<UNK>" for id in ids])
                assert (characters.spell([words[id] for id in ids[known]]) == golden[known]).all()
                assert all(tuple(row) in rare for row in golden[~known].tolist())  # <UNK> was read as the word it stands for
                compared += len(ids)
    assert compared == 12 * 2 * 10


def test_the_inventory_ranks_units_by_count_and_leaves_out_rare_ones() -> None:
    counts = np.array([5, 2, 1])
    characters = Characters.of(CharacterSpec(unit="codepoint", minimum_count=2), ["ab", "b🙂\ud800", "cc"], counts)
    assert characters.inventory == "bac🙂"
    jamo = Characters.of(CharacterSpec(unit="jamo"), ["각", "가ㅋ"], np.array([1, 1]))
    assert jamo.inventory == unicodedata.normalize("NFD", "가") + unicodedata.normalize("NFD", "각")[2] + "ㅋ"
    assert jamo.size == len(jamo.inventory) + 6
    assert Characters.of(CharacterSpec(unit="byte"), ["ab"], np.array([1])).inventory == ""


def test_jamo_are_cut_between_syllables() -> None:
    characters = Characters.of(CharacterSpec(unit="jamo", length=9), ["각가닭"], np.array([1]))
    row = characters.spell(["각가닭"])[0].tolist()
    text = "".join(characters.inventory[unit] for unit in row if unit < len(characters.inventory))
    assert unicodedata.normalize("NFC", text) == "각가" and row.count(characters.pad) == 2
    plain = CharacterSpec(unit="jamo", cut="byte")
    with pytest.raises(MalmoiError, match="M002"):
        Characters.of(plain, ["각"], np.array([1]))


def test_a_large_inventory_needs_wider_ids() -> None:
    inventory = "".join(map(chr, range(0x10000, 0x20002)))
    characters = Characters(unit="codepoint", length=5, inventory=inventory)
    assert characters.spell([inventory[-1]]).tolist() == [[characters.begin, 65537, characters.end, characters.pad, characters.pad]]


def test_copies_spell_the_same() -> None:
    characters = Characters.of(CharacterSpec(unit="jamo", length=9), ["각가닭", "\u0301"], np.array([1, 1]))
    rows = characters.spell(["각x"])
    for copy in (pickle.loads(pickle.dumps(characters)), Characters.from_json(json.loads(json.dumps(characters.to_json())))):
        assert (copy.spell(["각x"]) == rows).all() and copy.to_json() == characters.to_json()
    assert len(pickle.dumps(characters)) < 1000
