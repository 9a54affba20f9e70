"""Decisions against a slow exact clustering, however the documents are cut into shards."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.corpus.cleaning import duplicates
from malmoi.corpus.cleaning.duplicates import EXACT, NEAR, Decisions, Signatures, decide, sign, without
from malmoi.corpus.steps.spec import ExactSpec, NearSpec, ParagraphsSpec

EVERYTHING = (ExactSpec(), NearSpec(), ParagraphsSpec(characters=8, times=2))
FIELDS = ("step_N", "first_N", "offset_N", "place_M")


def decided(texts, steps=EVERYTHING, *, cuts=()) -> Decisions:
    """Decisions on texts that are cut into shards at `cuts`."""
    with TemporaryDirectory() as folder:
        paths = []
        for begin, end in zip([0, *cuts], [*cuts, len(texts)], strict=True):
            paths.append(Path(folder) / f"{len(paths)}.npz")
            sign(texts[begin:end], steps).save(paths[-1])
        found = decide(paths, steps, work=Path(folder) / "work")
        assert list((Path(folder) / "work").iterdir()) == []
        return found


def equal(left: Decisions, right: Decisions) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in FIELDS)


def prose(words: int, *, seed: int) -> list[str]:
    source = random.Random(seed)
    return ["".join(chr(0xAC00 + source.randrange(2000)) for _ in range(source.randint(2, 4))) for _ in range(words)]


def edited(words: list[str], share: float, *, seed: int) -> list[str]:
    source, fresh, out = random.Random(seed), prose(len(words), seed=seed + 10**6), list(words)
    for place in source.sample(range(len(words)), round(share * len(words))):
        out[place] = fresh[place]
    return out


def test_copies_but_for_space_and_case_go_and_the_first_stays():
    texts = ["한 글 B", "다른 글", "한\u3000글\n b ", "한글 B", "한 글 B.", "다른 글"]
    found = decided(texts, [ExactSpec()])
    assert found.step_N.tolist() == [0, 0, EXACT, 0, 0, EXACT]
    assert found.first_N.tolist() == [0, 1, 0, 3, 4, 1]


@given(st.text(st.sampled_from("aB \n\t\r\u3000\u00a0\u2028\x1fßİ가"), max_size=12))
def test_white_space_is_collapsed_as_split_does(text):
    assert duplicates._plain(text) == " ".join(text.casefold().split())


def test_planted_near_duplicates_are_found_and_nothing_else():
    originals = [prose(40 + seed % 100, seed=seed) for seed in range(600)]
    planted = [edited(words, 0.03, seed=number) for number, words in enumerate(originals[:300])]
    found = decided([" ".join(words) for words in originals + planted], [NearSpec()])
    assert (found.step_N[:600] == 0).all()
    caught = found.step_N[600:] == NEAR
    assert caught.mean() >= 0.97
    assert (found.first_N[600:][caught] == np.arange(300)[caught]).all()


def test_no_chain_of_small_differences_takes_away_what_is_unlike_all_that_stays():
    words, fresh = prose(100, seed=1), prose(100, seed=2)
    chain = [" ".join(fresh[: 4 * step] + words[4 * step :]) for step in range(26)]
    found = decided(chain, [NearSpec()])
    stay = np.flatnonzero(found.step_N == 0)
    assert 3 <= len(stay) <= 9
    for row in np.flatnonzero(found.step_N):
        assert jaccard(chain[row], chain[found.first_N[row]]) > 0.6


def jaccard(left: str, right: str) -> float:
    here, there = ({text[place : place + 5] for place in range(len(text) - 4)} for text in (left, right))
    return len(here & there) / len(here | there)


def test_two_edits_of_a_document_that_went_stand_for_the_first():
    words = prose(300, seed=3)
    texts = [" ".join(edited(words, 0.03, seed=seed)) for seed in range(6)]
    found = decided([texts[0], " ".join(words), *texts[1:]], [NearSpec()])
    assert found.first_N.tolist() == [0] * 7


def test_a_copy_of_a_near_duplicate_stands_for_the_document_that_stays():
    words = prose(100, seed=5)
    near = " ".join(edited(words, 0.02, seed=5))
    found = decided([" ".join(words), near, near.upper() + "\n"], EVERYTHING[:2])
    assert found.step_N.tolist() == [0, NEAR, EXACT]
    assert found.first_N.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "texts",
    [
        ["", "", "   ", "?!", "..."],
        ["네", "네.", "아니", "네!!"],
        ["좋아요 정말", "좋아요 정말로"],
        ["전화 010-1234-5678", "전화 010-1234-5679"],
        ["1", "12", "123", "1234", "12345", "123456", "1234567"],
    ],
)
def test_short_texts_make_no_near_duplicates(texts):
    assert not decided(texts, [NearSpec()]).step_N.any()


def test_lines_go_from_all_but_the_first_document_that_stays():
    menu, foot = "홈 | 로그인 | 회원 가입 | 장바구니", "Copyright (c) 2020 All rights reserved"
    bodies = [" ".join(prose(20, seed=seed)) for seed in range(5)]
    texts = [
        f"{menu}\n{bodies[0]}\n{foot}\n{foot}",
        f"{menu}\n{bodies[0]}\n{foot}\n{foot}",  # a copy: its lines do not count
        f"{bodies[1]}\n  {foot.upper()} \n짧다\n{foot}",
        f"짧다\n{bodies[2]}\n짧다",
        f"{menu}\n{bodies[3]}\n짧다",
    ]
    found = decided(texts, [ExactSpec(), ParagraphsSpec(characters=10, times=2)], cuts=(2, 3))
    assert [found.lines(row) for row in range(5)] == [[], [], [1, 3], [], [0]]
    assert decided(texts, [ExactSpec(), ParagraphsSpec(characters=10, times=3)]).place_M.tolist() == []
    assert decided(texts, [ParagraphsSpec(characters=10, times=3)]).lines(4) == [0]
    assert found.of(1).lines(0) == [1, 3] and found.of(2).lines(1) == [0]
    assert without(texts[2], found.lines(2)) == (f"{bodies[1]}\n짧다", [f"  {foot.upper()} ", foot])


def mixture(count: int, *, seed: int) -> list[str]:
    """Texts with copies, near copies, chains of them, shared lines and texts of nothing."""
    source, texts = random.Random(seed), [" ".join(prose(30, seed=0))]
    for number in range(count):
        old = source.choice(texts).split(" ")
        kind = source.randrange(6)
        fresh = [prose(30, seed=seed + number), old, edited(old, 0.05, seed=number), edited(old, 0.2, seed=number), old[:5], []][kind]
        texts.append("\n".join([" ".join(fresh)] + ["줄 하나가 여러 글에 있다", "다른 줄도 여러 글에 있다"][: source.randrange(3)]))
    return texts


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 41), max_size=4).map(sorted))
def test_decisions_do_not_depend_on_the_cuts(seed, cuts):
    texts = mixture(40, seed=seed)
    whole = decided(texts)
    assert equal(decided(texts, cuts=cuts), whole) and equal(decided(texts), whole)
    assert (whole.first_N[whole.step_N == 0] == np.flatnonzero(whole.step_N == 0)).all()
    assert (whole.first_N[whole.step_N > 0] < np.flatnonzero(whole.step_N > 0)).all()
    assert (whole.step_N[whole.first_N] == 0).all()


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_a_copy_is_always_found(seed):
    texts = mixture(20, seed=seed)
    found = decided([*texts, *(text.upper() for text in texts)])
    assert (found.step_N[len(texts) :] > 0).all()
    alone = decided([*texts, *texts], [NearSpec()])
    long = np.array([len("".join(text.split())) > 24 for text in texts])
    assert (alone.step_N[len(texts) :] > 0)[long].all()


def test_parts_of_the_range_of_hashes_change_nothing(monkeypatch):
    texts = mixture(150, seed=7)
    whole = decided(texts)
    assert {1, 2} <= set(whole.step_N.tolist()) and len(whole.place_M)
    monkeypatch.setattr(duplicates, "PART", 500)
    monkeypatch.setattr(duplicates, "PAIRS", 3)
    assert equal(decided(texts, cuts=(3, 90)), whole)


def test_files_are_the_same_bytes_and_come_back(tmp_path):
    signatures = sign(mixture(10, seed=1), EVERYTHING)
    signatures.save(tmp_path / "a")
    signatures.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = Signatures.load(tmp_path / "a")
    assert len(back) == 11 and np.array_equal(back.near_NB, signatures.near_NB)
    found = decided(mixture(10, seed=1), cuts=(4,))
    found.save(tmp_path / "c")
    assert equal(Decisions.load(tmp_path / "c"), found)
    assert found.of(0).first_N.tolist() + found.of(1).first_N.tolist() == found.first_N.tolist()


def test_nothing_is_kept_that_no_step_needs():
    signatures = sign(["한 글", "두 글"], [ExactSpec()])
    assert (signatures.exact_NE.shape, signatures.near_NB.shape, signatures.document_M.shape) == ((2, 2), (2, 0), (0,))
    assert decided([], EVERYTHING).counts_S.tolist() == [0]
    assert decide([], EVERYTHING, work=Path(TemporaryDirectory().name)).offset_N.tolist() == [0]
