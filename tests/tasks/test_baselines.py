"""Baselines: what each kind of task gives away, worked out by hand; the published floors of KorSTS and KLUE-STS."""

from dataclasses import replace

import numpy as np
import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import TASKS, find_task, lexical
from malmoi.tasks.baselines import _border, baselines, found_spans, known_spans
from malmoi.tasks.lexical import Linear, cosines
from malmoi.tasks.task import Choice, InContext, Question, Splits, Tagged, Texts, WordPair
from malmoi.tasks.windows import answer, usual_length

GOOD, BAD = (
    ("a fine film", "what fine acting", "fine fine work", "a film so fine"),
    ("a dull film", "what dull acting", "dull work", "so dull"),
)


def sentences(*labelled):
    return [Texts(str(place), first, label=label) for place, (first, label) in enumerate(labelled)]


def classified():
    train = sentences(*((text, "1") for text in GOOD), *((text, "0") for text in BAD), ("a fine day", "1"))
    return Splits(train=train, dev=sentences(("fine music", "1"), ("dull music", "0"), ("fine food", "1")))


def test_labels_by_words_and_by_characters_beat_the_majority():
    found = baselines(find_task("sst2"), classified())
    assert found["majority"].predictions == ["1", "1", "1"] and found["majority"].scores == {"accuracy": pytest.approx(2 / 3)}
    assert found["word-tfidf"].predictions == found["char-tfidf"].predictions == ["1", "0", "1"]


def test_more_than_two_labels():
    splits = Splits(
        train=sentences(
            *((f"{word} {place}", label) for place in range(4) for word, label in (("경제", "경제"), ("야구", "스포츠"), ("정부", "정치")))
        ),
        dev=sentences(("경제 소식", "경제"), ("정부 소식", "정치"), ("야구 소식", "스포츠")),
    )
    assert baselines(find_task("klue-tc"), splits)["word-tfidf"].predictions == ["경제", "정치", "스포츠"]


def test_one_label_alone_is_learned():
    splits = Splits(train=sentences(("a", "1"), ("b", "1")), dev=sentences(("a", "1")))
    assert baselines(find_task("sst2"), splits)["word-tfidf"].predictions == ["1"]


def test_test_is_scored_where_there_is_no_dev_and_nothing_is_learned_without_train():
    pairs = [
        Texts("0", "나는 간다", "나는 간다", 5.0),
        Texts("1", "나는 간다", "비가 온다", 0.0),
        Texts("2", "나는 간다", "나는 온다", 3.0),
    ]
    found = baselines(find_task("klue-sts"), Splits(test=pairs))
    assert set(found) == {"word-cosine", "char-cosine"}
    assert found["char-cosine"].predictions[0] == pytest.approx(5.0) and found["char-cosine"].predictions[1] < 1.5
    assert found["char-cosine"].scores["spearman"] == pytest.approx(1.0)
    with pytest.raises(MalmoiError) as refused:
        baselines(find_task("klue-sts"), Splits(test=pairs), on="dev")
    assert refused.value.code == "M155"


def test_the_cosine_is_that_of_hand_computed_tfidf():
    pairs = [("a b", "a c"), ("a a", "b")]
    weights = dict(zip("abc", np.log(5 / (1 + np.array([3, 2, 1]))) + 1, strict=True))  # four texts
    one = np.array([weights["a"], weights["b"], 0.0])
    other = np.array([weights["a"], 0.0, weights["c"]])
    plain = replace_ngrams((1, 1))
    with plain:
        found = cosines("word", pairs, fitted=pairs)
    assert found[0] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) and found[1] == 0.0


def replace_ngrams(span):
    patch = pytest.MonkeyPatch()
    patch.setitem(lexical.FORMS, "word", {**lexical.FORMS["word"], "ngram_range": span})

    class Until:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            patch.undo()

    return Until()


def test_ridge_learns_the_scale_of_the_scores():
    words = ["산", "강", "바다", "하늘", "구름", "바람"]
    train = [Texts(f"{one}{two}", f"{one} 본다", f"{two} 본다", 5.0 if one == two else 1.0) for one in words for two in words]
    dev = [train.pop(35), train.pop(1)]  # 바람 and 바람, 산 and 강
    found = baselines(find_task("korsts"), Splits(train=train, dev=dev))
    assert found["mean"].scores["spearman"] == 0.0
    told = found["char-ridge"].predictions
    assert told[0] - told[1] > 0.5 and 0 < told[1] < told[0] < 6


def test_static_vectors_stand_beside_letters():
    table = {"cat": np.array([1.0, 0.1]), "dog": np.array([1.0, 0.2]), "car": np.array([0.0, 1.0])}
    pairs = [WordPair("0", "cat", "dog", 9.0), WordPair("1", "cat", "car", 2.0), WordPair("2", "cat", "tree", 1.0)]
    found = baselines(find_task("simlex"), Splits(test=pairs), vectors=table.get)
    assert found["static-cosine"].predictions[2] is None and found["static-cosine"].scores["covered"] == pytest.approx(2 / 3)
    assert found["static-cosine"].scores["spearman"] == 1.0
    assert found["char-cosine"].scores["covered"] == 1.0


def test_words_in_context_by_how_alike_their_texts_are():
    def pair(place, second, label):
        return InContext(str(place), "money in the bank", (13, 17), second, (0, 4), label)

    train = [
        pair(0, "bank with the money", "T"),
        pair(1, "bank of a river", "F"),
        pair(2, "bank money and the rest", "T"),
        pair(3, "bank grass", "F"),
    ]
    found = baselines(
        find_task("mcl-wic"), Splits(train=train, dev=[pair(4, "bank that holds the money", "T"), pair(5, "bank of grass", "F")])
    )
    assert found["word-cosine"].predictions == ["T", "F"]
    assert set(found) >= {"majority", "char-cosine", "char-tfidf"} and "static-cosine" not in found


def test_border_against_every_border_there_is():
    random = np.random.default_rng(3)
    for _ in range(50):
        values, labels = random.integers(0, 6, 12) / 5, list(random.choice(["F", "T"], 12))
        border, high, low = _border(list(values), labels)
        told = sum((high if value > border else low) == label for value, label in zip(values, labels, strict=True))
        best = max(
            sum((one if value > cut else other) == label for value, label in zip(values, labels, strict=True))
            for cut in (-1.0, *values)
            for one, other in (("T", "F"), ("F", "T"))
        )
        assert told == best


def tagged(*rows):
    return [Tagged(str(place), tuple(words.split()), tuple(tags.split())) for place, (words, tags) in enumerate(rows)]


NAMES = (
    ("New York is big", "B-LOC I-LOC O O"),
    ("York is small", "B-LOC O O"),
    ("a big Apple", "O O O"),
    ("Apple in New York", "B-ORG O B-LOC I-LOC"),
    ("an Apple", "O O"),
)


def test_names_that_mostly_were_names():
    known = known_spans(tagged(*NAMES))
    assert known == {("New", "York"): "LOC"}  # York stood three times, once as a name; Apple three times, once
    assert found_spans(("in", "New", "York", "New"), known) == ("O", "B-LOC", "I-LOC", "O")


def test_tags_of_words():
    splits = Splits(train=tagged(*NAMES), dev=tagged(("New York in Rome", "B-LOC I-LOC O B-LOC")))
    task = replace(find_task("wikigold"), labels=("B-LOC", "I-LOC", "B-ORG", "I-ORG", "O"))
    found = baselines(task, splits)
    assert found["majority"].predictions == [("O",) * 4]
    assert found["known-words"].predictions == [("B-LOC", "I-LOC", "O", "O")]
    assert found["known-spans"].scores["f1"] == pytest.approx(2 / 3)
    parts = Splits(train=tagged(("the cat sat", "DET NOUN VERB"), ("the can", "DET NOUN")), dev=tagged(("the dog", "DET NOUN")))
    assert baselines(find_task("ud-pos"), parts)["known-words"].scores == {"accuracy": 1.0} and "known-spans" not in baselines(
        find_task("ud-pos"), parts
    )


def test_answers_stand_beside_the_words_of_their_question():
    context = "The tower was painted green by John Smith in 1901. It was sold to Ann Lee in 1950."
    asked = Question("0", "Who painted the tower green?", context, (("John Smith", context.index("John")),))
    assert answer(asked, words=2, language="en") in ("by John", "John Smith")
    assert answer(replace(asked, question="To whom was it sold?"), words=2, language="en") == "Ann Lee"
    assert answer(replace(asked, context=""), words=2, language="en") == ""
    assert usual_length([asked]) == 2 and usual_length([]) == 2
    found = baselines(find_task("squad2"), Splits(train=[asked, replace(asked, answers=())], dev=[asked]))
    assert found["no-answer"].predictions == [""] and found["sliding-window"].scores["f1"] > 0


def test_korean_words_are_found_behind_their_particles():
    context = "대표는 회의에서 사임을 발표했다. 비는 서울에 내렸다."
    asked = Question("0", "비는 어디에 내렸나?", context, (("서울", context.index("서울")),))
    assert answer(asked, words=1, language="ko") == "서울에"


def test_choices_by_likeness_and_by_what_was_learned():
    train = [
        Choice(str(place), f"the {word} ran", ("it slept", f"the {word} was fast"), 1)
        for place, word in enumerate(("cat", "dog", "fox", "hen"))
    ]
    dev = [Choice("9", "the cow ran", ("the cow was fast", "it slept"), 0)]
    found = baselines(find_task("codah"), Splits(train=train, dev=dev))
    assert found["majority"].predictions == [1]
    assert found["word-cosine"].predictions == found["word-tfidf"].predictions == [0]


def test_of_too_many_examples_some_are_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(lexical, "MOST", 4)
    pairs = [(text, None) for text in (*GOOD, *BAD)]
    one, same, other = (Linear("word", pairs, seed=seed).chosen for seed in (1, 1, 2))
    assert len(one) == 4 and (one == same).all() and (one != other).any()


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(lexical, "import_module", lambda name: __import__("no_such_module_" + name.replace(".", "_")))
    with pytest.raises(MalmoiError) as refused:
        baselines(find_task("sst2"), classified())
    assert refused.value.code == "M005" and "malmoi[tasks]" in str(refused.value)


def test_every_kind_has_baselines():
    from malmoi.tasks.baselines import _BY_KIND

    assert {task.kind for task in TASKS.values()} <= set(_BY_KIND)


def test_floors_of_korsts_and_klue_sts(shared):
    korsts = find_task("korsts").read(shared / "data" / "kornlu" / "KorSTS")
    klue = find_task("klue-sts").read(shared / "data" / "klue_dev")
    pairs = [(example.first, example.second) for example in korsts.train]
    told = cosines("char", [(example.first, example.second) for example in korsts.dev], fitted=pairs)
    assert find_task("korsts").metric(korsts.dev, list(map(float, told)))["spearman"] == pytest.approx(0.744, abs=5e-4)
    examples = klue.dev or klue.test
    told = cosines("char", [(example.first, example.second) for example in examples], fitted=pairs)
    assert find_task("klue-sts").metric(examples, list(map(float, told)))["spearman"] == pytest.approx(0.328, abs=5e-4)
