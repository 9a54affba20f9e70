"""Metrics against the official scorers (numbers they gave for the files in golden/), against libraries, and by hand."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import find_task
from malmoi.tasks.formats.questions import Squad
from malmoi.tasks.formats.source import Source
from malmoi.tasks.metrics import answers, labels, spans
from malmoi.tasks.task import Choice, Question, Tagged, Texts, WordPair

GOLDEN = Path(__file__).parent / "golden"
FOUR = {"abs": 5e-5}


def golden(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def asked(name, predictions, **form):
    """Questions of a golden file, and the predictions for them in its order."""
    source = Source(name, name, "golden", (GOLDEN / name).read_bytes, split="dev")
    examples, told = Squad(unanswerable=True, **form)(source), golden(predictions)
    return examples, [told[example.id] for example in examples]


def labelled(known):
    return [Texts(str(place), "text", label=label) for place, label in enumerate(known)]


def test_squad_1_as_evaluate_v1_1_scores_it():
    assert answers.squad1(*asked("squad1.json", "squad2_predictions.json")) == pytest.approx({"exact": 0.571429, "f1": 0.741497}, **FOUR)


def test_squad_2_as_evaluate_v2_0_scores_it():
    examples, told = asked("squad2.json", "squad2_predictions.json")
    doubts = [golden("squad2_na_prob.json")[example.id] for example in examples]
    plain = {"exact": 0.5, "f1": 0.719048, "has_exact": 0.428571, "has_f1": 0.741497, "no_exact": 0.666667, "no_f1": 0.666667}
    best = {"best_exact": 0.5, "best_exact_threshold": 0.1, "best_f1": 0.719048, "best_f1_threshold": 0.7}
    assert answers.squad2(examples, told) == pytest.approx(plain, **FOUR)
    assert answers.squad2(examples, told, no_answer=doubts) == pytest.approx(plain | best, **FOUR)
    at_half = {"exact": 0.5, "f1": 0.652381, "has_exact": 0.285714, "has_f1": 0.503401, "no_exact": 1.0, "no_f1": 1.0}
    assert answers.squad2(examples, told, no_answer=doubts, threshold=0.5) == pytest.approx(at_half | best, **FOUR)


def test_korquad_as_its_script_scores_it():
    assert answers.korquad(*asked("korquad.json", "korquad_predictions.json")) == pytest.approx({"exact": 0.166667, "f1": 0.773545}, **FOUR)


def test_klue_mrc_as_klue_baseline_scores_it():
    told = asked("klue_mrc.json", "klue_mrc_predictions.json", id="guid")
    assert answers.klue_mrc(*told) == pytest.approx({"exact": 0.333333, "rouge_w": 0.715050}, **FOUR)


@pytest.mark.parametrize(
    ("text", "squad", "korquad", "klue"),
    [
        ("The  Cat's, an END.", "cats end", "the cat s an end", "the cats an end"),
        ("《둥근 달》", "《둥근 달》", "둥근 달", "《둥근 달》"),
        ("a-b – C", "ab – c", "ab – c", "ab – c"),
        ("‘the’", "‘ ’", "the", "‘the’"),
        ("'()‘’x", "‘’x", "x", "x"),
    ],
)
def test_each_normalization_by_hand(text, squad, korquad, klue):
    assert (answers.squad_normal(text), answers.korquad_normal(text), answers.klue_normal(text)) == (squad, korquad, klue)


def test_a_question_without_answers_is_not_of_squad_1():
    with pytest.raises(MalmoiError, match="M156.*'q'"):
        answers.squad1([Question("q", "who?", "nobody")], [""])


def tagged_file():
    examples, told = [], []
    for number, block in enumerate((GOLDEN / "tags.conll").read_text(encoding="utf-8").strip().split("\n\n")):
        words, gold, predicted = zip(*(line.split() for line in block.split("\n")), strict=True)
        examples.append(Tagged(str(number), words, gold))
        told.append(predicted)
    return examples, told


def test_entities_as_seqeval_strict_and_conlleval_count_them():
    found = spans.entity_f1(*tagged_file())
    assert found["f1"] == pytest.approx(0.454545, **FOUR)
    assert (found["precision"], found["recall"]) == pytest.approx((0.5, 0.416667), **FOUR)
    assert found["conlleval_f1"] == pytest.approx(2 * 7 / (12 + 14), **FOUR)  # conlleval: 12 phrases, found 14, correct 7: FB1 53.85
    assert found["accuracy"] == pytest.approx(0.6774, **FOUR)


@pytest.mark.parametrize(
    ("tags", "strict", "conll"),
    [
        ("B-A I-A O B-A", {("A", 0, 2), ("A", 3, 4)}, {("A", 0, 2), ("A", 3, 4)}),
        ("I-A I-A O", set(), {("A", 0, 2)}),
        ("B-A I-B I-B", {("A", 0, 1)}, {("A", 0, 1), ("B", 1, 3)}),
        ("B-A B-A I-A", {("A", 0, 1), ("A", 1, 3)}, {("A", 0, 1), ("A", 1, 3)}),
        ("O I-A B-A", {("A", 2, 3)}, {("A", 1, 2), ("A", 2, 3)}),
        ("B-creative-work I-creative-work", {("creative-work", 0, 2)}, {("creative-work", 0, 2)}),
    ],
)
def test_what_is_an_entity_by_hand(tags, strict, conll):
    assert (spans.strict_entities(tags.split()), spans.conll_entities(tags.split())) == (strict, conll)


def characters():
    rows = golden("klue_ner.json")
    return [Tagged(row["id"], tuple(row["text"]), tuple(row["gold"])) for row in rows], [tuple(row["predicted"]) for row in rows]


def test_klue_ner_as_klue_baseline_scores_it():
    found = find_task("klue-ner").metric(*characters())
    assert found == pytest.approx({"entity_f1": 0.444444, "character_f1": 0.814367}, **FOUR)


def test_labels_that_do_not_occur_count_as_right_in_klue_ner():
    found = find_task("klue-ner").metric([Tagged("x", tuple("이가람"), ("B-PS", "I-PS", "I-PS"))], [("I-PS", "I-PS", "I-PS")])
    assert found == {"entity_f1": 0.0, "character_f1": pytest.approx((1 + 0 + 0.8 + 10) / 13)}  # O, B-PS, I-PS, the ten others


def test_klue_ner_does_not_see_spaces():
    examples, told = characters()
    both = zip(examples, told, strict=True)
    turned = [tuple("B-LC" if word == " " else tag for word, tag in zip(one.words, tags, strict=True)) for one, tags in both]
    assert turned != told
    assert find_task("klue-ner").metric(examples, turned) == find_task("klue-ner").metric(examples, told)


def test_klue_sts_as_klue_baseline_scores_it():
    known, told = [3.0, 2.9, 4.8, 0.0, 2.0, 4.7, 1.2, 3.1], [2.9, 3.0, 4.2, 0.1, 3.3, 5.0, 1.0, 2.95]
    found = labels.klue_sts(labelled(known), told)
    assert found == pytest.approx({"pearson": 0.940980, "f1": 0.5, "spearman": 0.761905}, **FOUR)


def test_klue_tc_as_klue_baseline_scores_it():
    known = ["정치", "경제", "사회", "경제", "세계", "정치", "스포츠"]
    told = ["정치", "사회", "사회", "경제", "정치", "정치", "경제"]
    found = find_task("klue-tc").metric(labelled(known), told)
    assert found == pytest.approx({"macro_f1": 0.393333, "accuracy": 4 / 7}, **FOUR)


def test_glue_numbers_by_hand():
    # 3 hits of "1", 1 false alarm, 2 misses, 4 right "0"
    known, told = list("1111100000"), list("1110010000")
    assert labels.accuracy_f1(labelled(known), told) == pytest.approx({"accuracy": 0.7, "f1": 2 * 3 / (2 * 3 + 1 + 2)})
    expected = (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 6 * 5)
    assert labels.matthews(labelled(known), told) == pytest.approx({"matthews": expected, "accuracy": 0.7})
    assert labels.matthews(labelled(known), ["1"] * 10)["matthews"] == 0.0


def test_against_scikit_learn_and_scipy():
    metrics, stats = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.stats")
    draw = random.Random(3)
    for _ in range(20):
        known, told = [draw.choice("01") for _ in range(40)], [draw.choice("01") for _ in range(40)]
        examples = labelled(known)
        assert labels.matthews(examples, told)["matthews"] == pytest.approx(metrics.matthews_corrcoef(known, told))
        assert labels.accuracy_f1(examples, told)["f1"] == pytest.approx(metrics.f1_score(known, told, pos_label="1"))
        several, guessed = [draw.choice("abcd") for _ in range(30)], [draw.choice("bcde") for _ in range(30)]
        assert labels.macro_f1(labelled(several), guessed)["macro_f1"] == pytest.approx(
            metrics.f1_score(several, guessed, average="macro", zero_division=0)
        )
        numbers, claims = [draw.randint(0, 5) for _ in range(25)], [round(draw.uniform(0, 5)) / 2 for _ in range(25)]
        found = labels.correlations(labelled(numbers), claims)
        assert found["pearson"] == pytest.approx(stats.pearsonr(numbers, claims)[0])
        assert found["spearman"] == pytest.approx(stats.spearmanr(numbers, claims)[0])
        assert found["mean"] == pytest.approx((found["pearson"] + found["spearman"]) / 2)


def test_numbers_that_do_not_vary_have_no_correlation():
    assert labels.correlations(labelled([1.0, 2.0, 3.0]), [2.0, 2.0, 2.0]) == {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}


def test_word_similarity_says_how_many_pairs_it_covers():
    pairs = [WordPair(str(place), "a", "b", score) for place, score in enumerate([1.0, 2.0, 3.0, 10.0])]
    found = labels.word_similarity(pairs, [1, 3, 2, None])
    assert found["covered"] == 0.75
    assert found["spearman"] == pytest.approx(0.5)  # ranks 1 2 3 and 1 3 2
    assert found["spearman_all"] == pytest.approx(0.316228, **FOUR)  # ranks 1 2 3 4 and 1 4 2.5 2.5, the missing one at the mean


def test_choices_are_scored_by_their_numbers():
    examples = [Choice("a", "it", ("x", "y"), 1), Choice("b", "it", ("x", "y"), 0)]
    assert find_task("codah").metric(examples, [1, 1]) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("examples", "predictions", "problem"),
    [
        (labelled(["1", "0"]), ["1"], "1 for 2 examples"),
        ([], [], "0 for 0"),
        (labelled([None]), ["1"], "'0' is not known"),
        (labelled(["1"]), [None], "none for '0'"),
    ],
)
def test_what_cannot_be_scored_is_said(examples, predictions, problem):
    with pytest.raises(MalmoiError, match=f"M156.*{problem}"):
        labels.accuracy(examples, predictions)


def test_tags_that_do_not_fit_are_said():
    with pytest.raises(MalmoiError, match="M156.*2 words.*1 tags"):
        spans.entity_f1([Tagged("s", ("a", "b"), ("O", "O"))], [("O",)])
    with pytest.raises(MalmoiError, match="M156.*not known"):
        spans.tag_accuracy([Tagged("s", ("a",))], [("O",)])
