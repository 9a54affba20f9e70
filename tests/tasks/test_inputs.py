"""Examples -> rows: the papers' transformations, what is cut and counted, where answers and words stand."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import SubwordSpec
from malmoi.tasks.inputs import Form, Frame, Inputs, WordInputs, divided, shared, windows
from malmoi.tasks.task import Choice, InContext, Question, Tagged, Task, Texts
from malmoi.vocab import Subwords

TEXTS = [
    "서울은 한국의 수도이다. 세종대왕은 한글을 만들었다.",
    "the river bank was old, and the bank of money stood there",
    "Anna sings. Kim walks slowly!",
]
ALGORITHMS = {"wordpiece": 160, "bpe": 400, "byte_bpe": 400, "unigram": 400}


@pytest.fixture(scope="module")
def vocabularies() -> dict[str, Subwords]:
    return {
        name: Subwords.train(TEXTS * 3, SubwordSpec(algorithm=name, size=size, minimum_count=1))  # type: ignore[arg-type]
        for name, size in ALGORITHMS.items()
    }


@pytest.fixture(params=ALGORITHMS)
def vocabulary(request: Any, vocabularies: dict[str, Subwords]) -> Subwords:
    return vocabularies[request.param]


@pytest.fixture
def pieces(vocabularies: dict[str, Subwords]) -> Subwords:
    return vocabularies["wordpiece"]


def bert(vocabulary: Subwords) -> Frame:
    return Frame(vocabulary.marks.begin, vocabulary.marks.end, vocabulary.marks.end, last=False)


def gpt(vocabulary: Subwords) -> Frame:
    return Frame(len(vocabulary), len(vocabulary) + 1, len(vocabulary) + 2, last=True)


def inputs(vocabulary: Subwords, kind: Any, *, frame: Any = bert, length: int = 64, **form: Any) -> Inputs:
    return Inputs(vocabulary, Form(task="t", kind=kind, **{"labels": ("a", "b")} | form), frame(vocabulary), length)


def test_bert_reads_two_texts_between_marks_with_their_types(pieces: Subwords) -> None:
    a, b = (pieces.encode(text).tolist() for text in TEXTS[1:])
    (item,) = inputs(pieces, "pair").items([Texts("1", TEXTS[1], TEXTS[2], "b")])
    (row,) = item.rows
    begin, end = pieces.marks.begin, pieces.marks.end
    assert row.ids.tolist() == [begin, *a, end, *b, end]
    assert row.split == len(a) + 2 and [part.tolist() for part in row.parts] == [[0]] and item.target == 1
    (alone,) = inputs(pieces, "sentence").items([Texts("1", TEXTS[2], label="a")])
    assert alone.rows[0].ids.tolist() == [begin, *b, end] and alone.rows[0].split == len(b) + 2 and alone.target == 0


def test_gpt_reads_start_delimiter_and_extract_tokens(pieces: Subwords) -> None:
    size = len(pieces)
    a, b = (pieces.encode(text).tolist() for text in TEXTS[1:])
    pair = Texts("1", TEXTS[1], TEXTS[2], "b")
    (item,) = inputs(pieces, "pair", frame=gpt).items([pair])
    assert [row.ids.tolist() for row in item.rows] == [[size, *a, size + 1, *b, size + 2]]
    assert item.rows[0].parts[0].tolist() == [len(a) + len(b) + 2]  # the extract token
    both, scale = {"both": True}, {"mean": 2.0, "spread": 0.5}
    (alike,) = inputs(pieces, "regression", frame=gpt, **both, **scale).items([Texts("1", TEXTS[1], TEXTS[2], 3.0)])
    assert [row.ids.tolist() for row in alike.rows] == [[size, *a, size + 1, *b, size + 2], [size, *b, size + 1, *a, size + 2]]
    assert alike.target == 2.0
    chosen = Choice("1", TEXTS[1], (TEXTS[2], "Anna"), 1)
    (choice,) = inputs(pieces, "choice", frame=gpt).items([chosen])
    assert [row.ids.tolist() for row in choice.rows] == [
        [size, *a, size + 1, *end, size + 2] for end in (b, pieces.encode("Anna").tolist())
    ]
    assert choice.target == 1


@given(st.integers(0, 40), st.integers(0, 40), st.integers(2, 40))
def test_the_longer_text_is_cut_first(a: int, b: int, room: int) -> None:
    left, right = a, b
    while left + right > room:  # the loop of the original program
        if left > right:
            left -= 1
        else:
            right -= 1
    assert shared(a, b, room) == (left, right)


def test_what_is_cut_is_counted(pieces: Subwords) -> None:
    a, b = (pieces.encode(text) for text in TEXTS[1:])
    made = inputs(pieces, "pair", length=13)
    short, long = made.items([Texts("1", "Anna", "Kim", "a"), Texts("2", TEXTS[1], TEXTS[2], "a")])
    assert len(long.rows[0].ids) == 13 and (made.cuts.examples, made.cuts.rows) == (2, 2)
    assert (made.cuts.cut, made.cuts.pieces) == (1, len(a) + len(b) - 10)
    kept = shared(len(a), len(b), 10)
    assert long.rows[0].ids[1 : 1 + kept[0]].tolist() == a[: kept[0]].tolist()
    again = inputs(pieces, "regression", frame=gpt, length=13, both=True)
    again.items([Texts("2", TEXTS[1], TEXTS[2], 1.0)])
    assert (again.cuts.cut, again.cuts.rows) == (1, 2)  # one example, though it is read twice


def test_a_tag_belongs_to_the_first_piece_and_a_causal_model_reads_the_last(vocabulary: Subwords) -> None:
    words = ("walkings", "\u200b", "walks", "Zyx")
    sizes = [max(len(vocabulary.encode(" " * (place > 0) + word)), 1) for place, word in enumerate(words)]
    example = Tagged("1", words, ("a", "b", "b", "a"))
    (item,) = inputs(vocabulary, "tagging").items([example])
    begins = 1 + np.cumsum(sizes) - sizes
    assert len(item.rows[0].ids) == sum(sizes) + 2 and max(sizes) > 1
    assert item.rows[0].parts[0].tolist() == begins.tolist() and item.target.tolist() == [0, 1, 1, 0]
    (causal,) = inputs(vocabulary, "tagging", frame=gpt).items([example])
    assert causal.rows[0].parts[0].tolist() == (begins + sizes - 1).tolist()
    for place, size, word in zip(begins, sizes, words, strict=True):
        if word not in ("\u200b", "Zyx"):
            assert vocabulary.decode(item.rows[0].ids[place : place + size]).strip() == word


def test_a_long_sentence_is_read_in_several_rows_and_every_word_keeps_its_tag(vocabulary: Subwords) -> None:
    words = tuple("Anna sings slowly and Kim walks there".split()) * 3
    tags = tuple(np.random.default_rng(0).choice(["a", "b"], len(words)).tolist())
    made = inputs(vocabulary, "tagging", length=16)
    items = made.items([Tagged("0", ("Kim",), ("a",)), Tagged("1", words, tags)])[1:]
    assert len(items) > 1 and all(len(item.rows[0].ids) <= 16 for item in items) and made.cuts.cut == 0
    assert "".join("ab"[target] for item in items for target in item.target) == "".join(tags)
    assert sum(len(item.of_word) for item in items if item.of_word is not None) == len(words)
    assert {item.example for item in items} == {1}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_characters_are_tagged_by_the_pieces_they_stand_in(vocabulary: Subwords, form: Any) -> None:
    text = "세종대왕은  한글을 漢字"
    example = Tagged("1", tuple(text), tuple("a" if character in "세종대왕" else "b" for character in text))
    (item,) = inputs(vocabulary, "tagging", characters=True).items([example])
    assert item.of_word is not None and len(item.of_word) == len(text)
    assert (item.of_word[[place for place, character in enumerate(text) if character != " "]] >= 0).all()
    units = item.of_word[item.of_word >= 0]
    assert (np.diff(units) >= 0).all() and set(units.tolist()) == set(range(len(item.rows[0].parts[0]))) == set(range(len(item.target)))
    for unit, target in enumerate(item.target):
        first = int(np.flatnonzero(item.of_word == unit)[0])
        assert "ab"[target] == example.tags[first]


@given(st.integers(0, 60), st.integers(2, 20), st.integers(0, 9))
def test_windows_cover_everything_and_share_the_stride(count: int, room: int, stride: int) -> None:
    stride = min(stride, room // 2)
    found = list(windows(count, room, stride))
    assert found[0][0] == 0 and found[-1][1] == count and all(high - low <= room for low, high in found)
    assert all(before[1] - after[0] == stride for before, after in zip(found, found[1:], strict=False))


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(9, 20))
def test_rows_hold_whole_words(sizes: list[int], room: int) -> None:
    found = list(divided(sizes, room))
    assert [place for low, high in found for place in range(low, high)] == list(range(len(sizes)))
    assert all(sum(sizes[low:high]) <= room for low, high in found)


CONTEXT = "the old river. " * 6 + "서울은 한국의 수도이다, 세종대왕은 한글을 만들었다. " + "Anna sings slowly. " * 6 + "끝은 부산 walks!"


@pytest.mark.parametrize("normal", ["NFC", "NFD"])
@pytest.mark.parametrize("answer", ["서울은", "세종대왕은", "Anna", "slowly", "walks"])
def test_answers_stand_at_their_characters_in_every_window(vocabulary: Subwords, answer: str, normal: Any) -> None:
    context, answer = (unicodedata.normalize(normal, text) for text in (CONTEXT, answer))
    made = inputs(vocabulary, "span", length=28, stride=8)
    items = made.items([Question("1", "river ?", context, ((answer, context.index(answer)),))])
    question = vocabulary.encode("river ?").tolist()
    begin, end = vocabulary.marks.begin, vocabulary.marks.end
    reached, holding = [], 0
    for item in items:
        (row,), edges = item.rows, item.edges
        assert edges is not None and len(row.ids) <= 28
        assert row.ids[: len(question) + 2].tolist() == [begin, *question, end] and row.ids[-1] == end and row.split == len(question) + 2
        assert row.parts[0][0] == 0 and len(row.parts[0]) == len(edges) + 1  # the mark says that the answer is not here
        assert row.parts[0][1:].tolist() == list(range(row.split, len(row.ids) - 1))
        reached += [place for first, last in edges.tolist() for place in range(first, last)]
        if item.target != (0, 0):
            holding += 1
            first, last = (place - 1 for place in item.target)
            assert context[edges[first, 0] : edges[last, 1]] == answer
    assert holding >= 1 and len(items) > 2 and made.cuts.missed == 0
    assert {place for place, character in enumerate(context) if not character.isspace()} <= set(reached)


def test_a_question_without_an_answer_and_an_answer_too_long_for_a_window(pieces: Subwords) -> None:
    made = inputs(pieces, "span", length=24, stride=4)
    none = made.items([Question("1", "river ?", CONTEXT)])
    assert all(item.target == (0, 0) for item in none) and made.cuts.missed == 0
    everything = made.items([Question("2", "river ?", CONTEXT, ((CONTEXT, 0),))])
    assert all(item.target == (0, 0) for item in everything) and made.cuts.missed == 1
    made.items([Question("3", "river ? " * 40, CONTEXT, (("Anna", CONTEXT.index("Anna")),))])
    assert made.cuts.cut == 1 and made.cuts.pieces == len(pieces.encode("river ? " * 40)) - 10


@pytest.mark.parametrize("normal", ["NFC", "NFD"])
def test_marked_words_are_read_by_their_pieces(vocabulary: Subwords, normal: Any) -> None:
    one, other = (unicodedata.normalize(normal, text) for text in ("한국의 수도이다 서울은 river", "the old bank sings"))
    marks = [
        (text.index(word), text.index(word) + len(word)) for text, word in ((one, unicodedata.normalize(normal, "서울은")), (other, "bank"))
    ]
    example = InContext("1", one, marks[0], other, marks[1], "a", "")
    (item,) = inputs(vocabulary, "context").items([example])
    whole, first, second = item.rows[0].parts
    assert whole.tolist() == [0] and vocabulary.decode(item.rows[0].ids[first]).strip() == "서울은"
    assert vocabulary.decode(item.rows[0].ids[second]).strip() == "bank"
    long = InContext("1", "old " * 40 + one, tuple(place + 160 for place in marks[0]), other + " old" * 40, marks[1], "a")  # type: ignore[arg-type]
    made = inputs(vocabulary, "context", length=32)
    (cut,) = made.items([long])
    assert len(cut.rows[0].ids) == 32 and made.cuts.cut == 1
    assert [vocabulary.decode(cut.rows[0].ids[part]).strip() for part in cut.rows[0].parts[1:]] == ["서울은", "bank"]


def test_the_form_is_what_the_training_examples_show() -> None:
    def form(kind: Any, examples: list[Any], *, both: bool = True, name: str = "t") -> Form:
        task = Task(name, kind, "en", "-", lambda path: None, lambda examples, told: {}, "x")  # type: ignore[arg-type, return-value]
        return Form.of(task, examples, both=both, stride=9)

    numbers = form("regression", [Texts("1", "a", "b", 1.0), Texts("2", "a", "b", 3.0)])
    assert (numbers.mean, numbers.spread, numbers.both, numbers.stride) == (2.0, 1.0, True, 9)
    assert not form("regression", [Texts("1", "a", "b", 1.0)], both=False).both and form("pair", [], name="mrpc").both
    assert form("regression", [Texts("1", "a", "b", 1.0)]).spread == 1.0
    assert form("sentence", [Texts("1", "a", label="z"), Texts("2", "a", label="y")]).labels == ("y", "z")
    assert (
        form("tagging", [Tagged("1", ("a", " "), ("y", "x"))]).characters and not form("tagging", [Tagged("1", ("a",), ("y",))]).characters
    )
    assert form("span", [Question("1", "q", "c")]).unanswerable and not form("span", [Question("1", "q", "c", (("c", 0),))]).unanswerable


def test_an_unknown_label_is_told(pieces: Subwords) -> None:
    with pytest.raises(MalmoiError, match="M154: example 'dev-3': 'c' is no label of t; its labels are a, b"):
        inputs(pieces, "sentence").items([Texts("dev-3", "a", label="c")])
    assert inputs(pieces, "sentence").items([Texts("1", "a")])[0].target is None


def test_models_of_words_read_words() -> None:
    made = WordInputs(str.split, Form(task="t", kind="tagging", labels=("a", "b")), 3)
    items = made.items([Tagged("1", tuple("vwxyz"), tuple("ababb")), Tagged("2", ("v",))])
    assert [item.rows[0].words for item in items] == [("v", "w", "x"), ("y", "z"), ("v",)]
    assert [None if item.target is None else item.target.tolist() for item in items] == [[0, 1, 0], [1, 1], None]
    texts = WordInputs(str.split, Form(task="t", kind="sentence", labels=("a", "b")), 3)
    long, empty = texts.items([Texts("1", "v w x y z", label="b"), Texts("2", " ", label="a")])
    assert long.rows[0].words == ("v", "w", "x") and long.rows[0].parts[0].tolist() == [0, 1, 2]
    assert len(empty.rows[0].words) == 1 and (texts.cuts.cut, texts.cuts.pieces) == (1, 2)
