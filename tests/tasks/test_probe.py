"""Probes from end to end on tiny runs of fresh weights, and what is made of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made import run_of, splits_of, task_of

import malmoi
from malmoi.core.errors import MalmoiError
from malmoi.tasks import TASKS, heads
from malmoi.tasks import probe_report as report
from malmoi.tasks.features import Features
from malmoi.tasks.material import Case, _numbers, spread
from malmoi.tasks.metrics import spans
from malmoi.tasks.probe import chosen_layers, known, probe, shortened
from malmoi.tasks.spec import LearningSpec, ProbeSpec
from malmoi.tasks.task import Question, Splits, Tagged, Texts, WordPair
from malmoi.use import encoder_of

QUICK = LearningSpec(epochs=8, learning_rate=5e-2, warmup=0.0, batch=32)
ENOUGH = {"sentence": 0.9, "pair": 0.5, "regression": 0.6, "tagging": 0.3, "span": 0.5, "choice": 0.9, "context": 0.9}
"""What fresh weights give a linear head on the easy tasks, far above chance: 1/4 of a pair, 0 of tags and their F1."""


def apart(example):
    """By how many stars two texts differ."""
    return float(abs(example.first.count("star") - example.second.count("star")))


@pytest.mark.parametrize("kind", ENOUGH)
@pytest.mark.parametrize("family", ["elmo", "bert"])
def test_every_kind_of_task_is_learned(kind, family, tmp_path):
    spec = ProbeSpec(layer=0 if kind in ("tagging", "context") else "mix", learning=QUICK)
    splits = splits_of(kind, test=32)
    if kind == "regression":  # how unlike two texts are, not how much there is in both
        splits = Splits(*([replace(one, label=apart(one)) for one in some] for some in (splits.train, splits.dev, splits.test)))
    found = probe(run_of(family, tmp_path), task_of(kind), splits=splits, spec=spec, seeds=[0])
    [[outcome]] = found.layers.values()
    assert outcome.scores["dev"][found.task.main] > ENOUGH[kind]
    assert set(outcome.scores) == {"dev", "test"} and len(outcome.predictions["test"]) == 32
    assert found.examples == {"train": 256, "dev": 64, "test": 32}


@pytest.mark.parametrize("head", ["crf", "bilstm-crf"])
def test_heads_over_whole_sentences(head, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "CELLS", 16)
    spec = ProbeSpec(layer="top", head=head, learning=QUICK.model_copy(update={"learning_rate": 0.1, "epochs": 8}))
    found = probe(run_of("elmo", tmp_path), task_of("tagging"), splits=splits_of("tagging", train=128), spec=spec, seeds=[0])
    [[outcome]] = found.layers.values()
    assert outcome.scores["dev"]["f1"] > 0.3
    for tags in outcome.predictions["dev"]:
        entities = spans.strict_entities(tags)
        assert sum(end - begin for _, begin, end in entities) == sum(tag != "O" for tag in tags), "no I- without its B-"


@pytest.mark.parametrize("layer", [7, "7", "middle", "all"])
def test_a_layer_that_is_not_there_is_told_with_those_that_are(layer):
    with pytest.raises(MalmoiError, match="M009: layer is") as caught:
        chosen_layers(layer, 3)
    assert "mean" not in caught.value.next and "all" not in caught.value.next and "0 to 2" in str(caught.value)


def test_each_layer_seed_and_random_weights(tmp_path):
    run, task, splits = run_of("elmo", tmp_path / "run"), task_of("sentence"), splits_of("sentence", train=64, dev=32, test=32)
    how = {"splits": splits, "spec": ProbeSpec(layer="each", learning=LearningSpec(epochs=2, learning_rate=1e-2)), "seeds": [0, 1]}
    found = probe(run, task, random=True, **how)
    assert list(found.layers) == list(found.random) == ["0", "1", "2", "mix"]
    again = probe(run, task, **how)
    assert found.layers == again.layers, "a seed decides everything"
    mix = found.layers["mix"][0].mix
    assert len(mix["weights"]) == 3 and sum(mix["weights"]) == pytest.approx(1.0)
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "run" / "features").iterdir()) == ["texts"] * 3
    answer = report.summary(found)
    assert [(row["layer"], row["weights"]) for row in answer["rows"]] == [
        (layer, weights) for weights in ("trained", "random") for layer in ("0", "1", "2", "mix")
    ]
    top = answer["rows"][2]
    seeds = [outcome.scores["test"]["accuracy"] for outcome in found.layers["2"]]
    under = [outcome.scores["test"]["accuracy"] for outcome in found.layers["0"]]
    assert top["test"]["seeds"] == seeds and top["test"]["mean"] == pytest.approx(np.mean(seeds))
    assert top["above_layer_0"]["mean"] == pytest.approx(np.mean(seeds) - np.mean(under))
    assert "above_layer_0" not in answer["rows"][0] and answer["compared_on"] == "test"


def test_what_is_written(tmp_path):
    task = replace(TASKS["sst2"], labels=("0", "1"))
    splits = splits_of("sentence", train=64, dev=20)
    silent = [replace(example, label=None) for example in splits_of("sentence", train=4, dev=9).dev]
    splits = Splits(splits.train, splits.dev, silent)
    spec = ProbeSpec(learning=LearningSpec(epochs=1))
    found = probe(run_of("bert", tmp_path / "run"), task, splits=splits, spec=spec, seeds=[0, 1])
    answer = {"run": "r", **report.summary(found), "baselines": {"majority": {"said": "", "scores": {"accuracy": 0.5}}}}
    report.write(tmp_path / "out", answer, found)
    names = sorted(path.name for path in (tmp_path / "out" / "predictions").iterdir())
    assert names == [f"mix-seed-{seed}-{split}.tsv" for seed in (0, 1) for split in ("dev", "test")]
    lines = (tmp_path / "out" / "predictions" / names[1]).read_text().splitlines()
    assert lines[0] == "index\tprediction" and len(lines) == 10 and {line[-1] for line in lines[1:]} <= {"0", "1"}
    assert json.loads((tmp_path / "out" / "probe.json").read_text())["metric"] == "accuracy"
    text = (tmp_path / "out" / "table.md").read_text()
    assert text.startswith("| layer | dev accuracy |") and "| majority | 0.5000 |" in text and "mix weights  0: 0." in text
    report.refuse_foreign(tmp_path / "out")
    report.refuse_foreign(tmp_path / "new")
    with pytest.raises(MalmoiError, match="M004"):
        report.refuse_foreign(tmp_path / "run")


def test_similarity_is_a_cosine_without_training(tmp_path):
    pairs = [WordPair("a", "bank", "money", 3.0), WordPair("b", "old", "☃", 1.0), WordPair("c", "river", "river", 10.0)]
    run, task = run_of("bert", tmp_path), TASKS["simlex"]
    found = probe(run, task, splits=Splits(test=pairs), spec=ProbeSpec(layer="each"), seeds=[0, 1, 2])
    assert list(found.layers) == ["0", "1", "2", "mix"]
    for [outcome] in found.layers.values():
        told = outcome.predictions["test"]
        assert told[1] is None and told[2] == pytest.approx(1.0, abs=1e-6) and -1 <= told[0] < 1
        assert outcome.scores["test"]["covered"] == pytest.approx(2 / 3)
    assert report.summary(found)["rows"][0]["test"]["half"] is None


@pytest.mark.parametrize("family", ["elmo", "bert"])
def test_two_texts_are_as_alike_as_their_vectors(family, tmp_path):
    run = run_of(family, tmp_path)
    splits = Splits(dev=splits_of("regression").dev, test=[replace(one, label=None) for one in splits_of("regression", seed=1).dev])
    found = probe(run, task_of("regression"), splits=splits, spec=ProbeSpec(layer="each", head="cosine"), seeds=[0, 1], random=True)
    assert list(found.layers) == ["0", "1", "2", "mix"] and [len(some) for some in found.layers.values()] == [1] * 4
    assert [len(some) for some in found.random.values()] == [2] * 4
    encoder = encoder_of(run)
    for layer, [outcome] in found.layers.items():
        wanted = []
        for one in splits.dev:  # each text by itself, one after the other
            u, v = (encoder.encode([text], layer="mix" if layer == "mix" else int(layer))[0].mean(0) for text in (one.first, one.second))
            wanted.append(5 * float(u @ v) / float(np.linalg.norm(u) * np.linalg.norm(v)))
        assert outcome.predictions["dev"] == pytest.approx(wanted, abs=1e-5) and len(outcome.predictions["test"]) == 64
        assert set(outcome.scores) == {"dev"}
        assert outcome.scores["dev"]["pearson"] == pytest.approx(np.corrcoef([one.label for one in splits.dev], wanted)[0, 1], abs=1e-5)
    assert report.summary(found)["compared_on"] == "dev"


def test_a_text_without_words_is_like_nothing(tmp_path):
    splits = Splits(dev=[Texts("1", "", "the house", 1.0), Texts("2", "the house", "the house", 5.0)])
    found = probe(run_of("elmo", tmp_path), task_of("regression"), splits=splits, spec=ProbeSpec(layer="top", head="cosine"))
    assert found.layers["2"][0].predictions["dev"] == pytest.approx([0.0, 5.0], abs=1e-5)


@pytest.mark.parametrize(("kind", "head", "message"), [("sentence", "cosine", "M009: head is 'cosine'.*easy-sentence is sentence")])
def test_cosines_need_two_texts(kind, head, message, tmp_path):
    with pytest.raises(MalmoiError, match=message):
        probe(run_of("elmo", tmp_path), task_of(kind), splits=splits_of(kind, train=8, dev=8), spec=ProbeSpec(head=head))


def test_a_task_without_answers_is_no_probe(tmp_path):
    task = replace(task_of("sentence"), kind="sentences", name="simcse")
    with pytest.raises(MalmoiError, match="M060: .* cannot be probed on simcse: it has no answers"):
        probe(run_of("elmo", tmp_path), task, splits=splits_of("sentence", train=8, dev=8), spec=ProbeSpec())


def test_layers_by_name():
    assert chosen_layers("each", 3) == [0, 1, 2, "mix"] and chosen_layers("each", 1) == [0]
    assert chosen_layers("mix", 3) == ["mix"] and chosen_layers("mix", 1) == [0]
    assert chosen_layers("top", 3) == [2] and chosen_layers(1, 3) == [1] and chosen_layers("1", 3) == [1]
    for wrong in (3, "all", "mean", "last"):
        with pytest.raises(MalmoiError, match="M009"):
            chosen_layers(wrong, 3)


def test_what_cannot_be_learned_is_refused(tmp_path):
    run, task, splits = run_of("elmo", tmp_path), task_of("sentence"), splits_of("sentence", train=8, dev=4)
    with pytest.raises(MalmoiError, match=r"M157.*learn from"):
        probe(run, task, splits=Splits((), splits.dev), spec=ProbeSpec())
    with pytest.raises(MalmoiError, match=r"M157.*choose"):
        probe(run, task, splits=Splits(splits.train, [Texts("a", "b")]), spec=ProbeSpec())
    with pytest.raises(MalmoiError, match=r"M009.*crf.*no tags"):
        probe(run, task, splits=splits, spec=ProbeSpec(head="crf"))
    with pytest.raises(MalmoiError, match=r"M009.*layers 0 to 2"):
        probe(run, task, splits=splits, spec=ProbeSpec(layer=7))


def test_known_answers():
    assert known([Question("a", "q", "c"), Question("b", "q", "c", (("c", 0),))]) and not known([Question("a", "q", "c")])
    assert known([Tagged("a", ("b",), ("O",))]) and not known([Tagged("a", ("b",))]) and not known([])
    assert not known([Texts("a", "b", label="x"), Texts("b", "c")])


def test_some_examples_in_their_order():
    examples = [Texts(str(number), "x", label="0") for number in range(50)]
    some = shortened(Splits(examples, examples[:5], ()), 10)
    ids = [int(example.id) for example in some.train]
    assert len(ids) == 10 and ids == sorted(ids) and ids != list(range(10)) and len(some.dev) == 5
    assert shortened(Splits(examples), 10).train == some.train


def test_tags_of_pieces_spread_over_characters():
    places = np.array([[0, 2], [2, 3], [4, 6], [7, 8]])
    assert spread(("B-PS", "O", "B-OG", "I-OG"), places, 9) == ("B-PS", "I-PS", "O", "O", "B-OG", "I-OG", "I-OG", "I-OG", "O")
    assert spread((), np.zeros((0, 2), np.int64), 2) == ("O", "O")


def test_characters_are_tagged_by_their_piece(tmp_path):
    """KLUE-NER's form: what a perfect head on words gives back of tags that end where words do."""
    words, tags = tuple("김 바람 서울"), ("B-PS", "O", "O", "O", "O", "B-LC", "I-LC")
    task = TASKS["klue-ner"]
    features = Features(run_of("elmo", tmp_path))
    case = Case.of(task, [])
    material = case.material([Tagged("a", words, tags)], features)
    assert material.views[0][0].shape[1] == 3 and [case.labels[tag] for tag in material.targets[0]] == ["B-PS", "O", "B-LC"]
    assert material.say(0, material.targets[0]) == tags


def test_tags_that_continue_nothing_begin_something():
    case = Case.of(TASKS["wnut17"], [])
    assert [case.labels[tag] for tag in _numbers(case, ("I-person", "I-person", "O", "I-group"))] == [
        "B-person",
        "I-person",
        "O",
        "B-group",
    ]
    assert _numbers(case, ()) is None and _numbers(case, ("B-city",)) is None


@pytest.mark.parametrize("given", [{"limit": 0}, {"seeds": 0}])
def test_none_is_not_all(given, tmp_path):
    """Refused before anything is opened: a limit of 0 is not the absence of one."""
    with pytest.raises(MalmoiError) as refused:
        malmoi.probe(tmp_path / "run", "ud-pos", data=tmp_path, **given)
    assert refused.value.code == "M009" and next(iter(given)) in str(refused.value)
