"""Whole models for a task: what a head may depend on, where gradients go, equal predictions after loading."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
import torch

from malmoi.core.artifact import writing
from malmoi.core.errors import MalmoiError
from malmoi.run import Run
from malmoi.tasks.answering import LONGEST, answer, threshold
from malmoi.tasks.inputs import Form, Item, Row
from malmoi.tasks.metrics import answers
from malmoi.tasks.readers import alike
from malmoi.tasks.spec import TuneSpec
from malmoi.tasks.task import Choice, Question, Texts
from malmoi.tasks.tune import begun, settled
from malmoi.tasks.tuned import KIND, Head, Tuned, _tags_of, load, save

FAMILIES = ("bert", "gpt", "electra", "albert")
KINDS = tuple(made.METRICS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def whole(family: str, kind: str, *, seed: int = 0, spec: TuneSpec | None = None, **changes: Any) -> tuple[Tuned, Run, TuneSpec]:
    """A model for the easy task of a kind, on a fresh run, before it learns."""
    run = made.run_of(family, Path("run"), **changes)
    spec = settled(run, spec or TuneSpec())
    form = Form.of(made.task_of(kind), made.splits_of(kind, train=40, dev=0).train, both=family == "gpt", stride=4)
    return begun(run, form=form, spec=spec, seed=seed, from_scratch=False), run, spec


def some(kind: str, count: int = 12) -> list[Any]:
    return list(made.splits_of(kind, train=count, dev=0).train)


def outputs(tuned: Tuned, items: Any) -> torch.Tensor:
    with torch.no_grad():
        return tuned(items)[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_gets_a_gradient(family: str, kind: str) -> None:
    tuned, _, _ = whole(family, kind)
    tuned.train().loss(tuned.inputs.items(some(kind))).backward()
    silent = [name for name, each in tuned.named_parameters() if each.grad is None or not each.grad.abs().max() > 0]
    # what is the same for all choices, or for all places, decides nothing
    assert [name for name in silent if kind not in ("choice", "span") or name != "head.out.bias"] == []


def test_similarity_does_not_depend_on_the_order_for_gpt() -> None:
    tuned, _, _ = whole("gpt", "regression")
    tuned.eval()
    pairs = [Texts("1", "red stone the house", "old bank")]
    turned = [Texts("1", pairs[0].second or "", pairs[0].first)]
    one, other = tuned.predict(pairs), tuned.predict(turned)
    assert one == pytest.approx(other, abs=1e-6)
    tuned.form = tuned.inputs.form = tuned.form.model_copy(update={"both": False})
    assert abs(float(tuned.predict(pairs)[0]) - float(tuned.predict(turned)[0])) > 1e-4  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_behind_a_row_changes_nothing(family: str, kind: str) -> None:
    """Rows of other lengths beside it pad a row; the loss of a padded row's padding is none."""
    tuned, _, _ = whole(family, kind)
    tuned.eval()
    items = tuned.inputs.items(some(kind))
    together = outputs(tuned, items)
    alone = torch.cat([outputs(tuned, [item]) for item in items])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


def test_the_ids_of_padding_are_never_read() -> None:
    for family in FAMILIES:
        tuned, _, _ = whole(family, "sentence")
        tuned.eval()
        rows = [item.rows[0] for item in tuned.inputs.items([Texts("1", "the old river house walks"), Texts("2", "red stone")])]
        batch = tuned.reader._batch([row.ids for row in rows], [row.split for row in rows])  # type: ignore[operator, union-attr]
        behind = batch.segments == 0
        assert behind.any() and not behind[0].any()
        with torch.no_grad():
            before = tuned.reader.model.encode(batch).last[1, : len(rows[1].ids)]  # type: ignore[union-attr]
            other = replace(batch, ids=torch.where(behind, 7, batch.ids))
            after = tuned.reader.model.encode(other).last[1, : len(rows[1].ids)]  # type: ignore[union-attr]
        assert torch.equal(before, after), family


def test_bert_tells_its_texts_apart_by_their_types() -> None:
    tuned, _, _ = whole("bert", "pair")
    rows = [item.rows[0] for item in tuned.inputs.items([Texts("1", "red stone", "the old river"), Texts("2", "a", "b")])]
    batch = tuned.reader._batch([row.ids for row in rows], [row.split for row in rows])  # type: ignore[operator, union-attr]
    long, short = (len(row.ids) for row in rows)
    assert batch.types is not None and batch.types[0].tolist() == [0] * 4 + [1] * (long - 4) and rows[0].ids[3] == rows[0].ids[-1]
    assert batch.types[1].tolist() == [0] * rows[1].split + [1] * (short - rows[1].split) + [0] * (long - short)
    assert batch.segments[1].tolist() == [1] * short + [0] * (long - short)


def test_choices_share_what_is_dropped() -> None:
    tuned, _, _ = whole("gpt", "choice", spec=TuneSpec(dropout=0.5))
    items = tuned.train().inputs.items(
        [Choice("1", "the old river", ("right", "right", "right"), 0), Choice("2", "the", ("right", "right"), 0)]
    )
    scores = outputs(tuned, items)[:, 0]
    assert scores.tolist() == pytest.approx([float(scores[0])] * 3 + [float(scores[3])] * 2, abs=1e-6)
    head = Head(8, 1, pooler=False, dropout=0.5).train()
    owners = torch.tensor([0, 0, 1, 1])
    found = head(torch.ones(4, 8), owners)[:, 0]
    assert found[0] == found[1] and found[2] == found[3] and found[0] != found[2]


def test_the_language_model_is_half_of_the_loss_of_gpt_over_the_tokens_of_its_texts() -> None:
    tuned, run, spec = whole("gpt", "pair", spec=TuneSpec(dropout=0.0))
    items = tuned.inputs.items(some("pair", 5))
    both = tuned.train().loss(items)
    task = tuned.eval().loss(items)  # the auxiliary loss belongs to training
    reader, size = tuned.reader, len(run.vocabulary)
    sums = []
    for item in items:
        ids = torch.from_numpy(item.rows[0].ids)[None]
        with torch.no_grad():
            x = reader.model.encode(reader._batch([item.rows[0].ids], [1])).last  # type: ignore[operator, union-attr]
            logp = torch.log_softmax(reader.model.heads["words"].logits(x[0, :-1]), dim=1)  # type: ignore[index, operator, union-attr]
        assert logp.shape[1] == size + 3
        sums += [-logp[place, id] for place, id in enumerate(ids[0, 1:].tolist()) if id < size]
    assert both.item() == pytest.approx((task + 0.5 * torch.stack(sums).mean()).item(), rel=1e-5)
    assert spec.lm_weight == 0.5 and sum(item.rows[0].ids.max() == size + 2 for item in items) == 5


def test_new_tokens_of_gpt_are_learned_and_the_output_matrix_stays_tied() -> None:
    tuned, run, _ = whole("gpt", "pair")
    table, head = tuned.reader.model.frontend.weight, tuned.reader.model.heads["words"]  # type: ignore[union-attr, index]
    assert head.weight is table and len(table) == len(run.vocabulary) + 3 == head.size
    assert torch.equal(table[:-3], run.objective.model.frontend.weight)
    assert 0.3 < table[-3:].std() / table[:-3].std() < 3.0
    tuned.train().loss(tuned.inputs.items(some("pair"))).backward()
    assert (table.grad[-3:].abs().sum(1) > 0).all()


def test_the_pooler_of_bert_goes_on_from_that_of_its_pairs() -> None:
    tuned, run, _ = whole("bert", "pair")
    assert tuned.head.pooler is not None
    assert torch.equal(tuned.head.pooler.weight, run.objective.model.heads["pair"].pooler.weight)  # type: ignore[union-attr]
    assert whole("electra", "pair")[0].head.pooler is not None and whole("gpt", "pair")[0].head.pooler is None


@pytest.mark.parametrize("family", ["bert", "albert", "gpt", "elmo"])
def test_layers_have_rates_and_begin_one_after_the_other(family: str) -> None:
    tuned, _, _ = whole(family, "sentence", depth=3)
    groups = tuned.groups(TuneSpec(layer_decay=0.5, unfreeze=True))
    depth = {"albert": 1, "elmo": 2}.get(family, 3)
    assert [group.begins for group in groups] == list(range(depth + 2))
    assert [group.rate for group in groups] == [0.5**place for place in range(depth + 2)]
    parameters = [parameter for group in groups for parameter in group.parameters]
    assert {id(each) for each in parameters} == {id(each) for each in tuned.parameters()} and len(parameters) == len(
        set(map(id, parameters))
    )
    assert groups[0].parameters[0] is next(tuned.head.parameters())
    frontend = tuned.reader.frontend if family == "elmo" else tuned.reader.model.frontend  # type: ignore[union-attr]
    own = {id(each) for each in frontend.parameters()}  # type: ignore[union-attr]
    # what an output matrix is tied to learns with it
    assert own - {id(each) for each in groups[-1].parameters} <= ({id(frontend.weight)} if family == "gpt" else set())  # type: ignore[union-attr]
    assert all(group.begins == 0 and group.rate == 1.0 for group in tuned.groups(TuneSpec()))


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_off_where_answers_are_given(kind: str) -> None:
    tuned, _, _ = whole("bert", kind, dropout=0.5, spec=TuneSpec(dropout=0.5))
    examples = some(kind)
    items = tuned.train().inputs.items(examples)
    found = [tuned._outputs(items) for _ in range(2)]
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True)) and tuned.training
    noisy = [outputs(tuned, items) for _ in range(2)]
    assert not torch.allclose(*noisy)


@pytest.mark.parametrize("family", [*FAMILIES, "elmo"])
@pytest.mark.parametrize("kind", ["sentence", "tagging", "regression", "span"])
def test_saved_is_loaded(family: str, kind: str, tmp_path: Path) -> None:
    if family == "elmo" and kind in ("regression", "span"):
        pytest.skip("a biLM reads one text")
    tuned, run, spec = whole(family, kind, seed=3)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    tuned.threshold, examples = 0.25, some(kind)
    with writing(tmp_path / "run2", KIND) as (folder, fields):
        fields.update(save(tuned, folder, run=run.spec, vocabulary=run.vocabulary, spec=spec))
    again = load(tmp_path / "run2")
    assert not again.training and again.threshold == 0.25 and again.form == tuned.form
    assert again.predict(examples) == tuned.predict(examples)
    found = [each._outputs(each.inputs.items(examples)) for each in (again, tuned)]
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    tuned, run, spec = whole("bert", "sentence")
    with writing(tmp_path / "run2", KIND) as (folder, fields):
        fields.update(save(tuned, folder, run=run.spec, vocabulary=run.vocabulary, spec=spec))
    with open(tmp_path / "run2" / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(MalmoiError, match="M020"):
        load(tmp_path / "run2")
    assert json.loads((tmp_path / "run2" / "manifest.json").read_text())["form"]["task"] == "easy-sentence"


def test_tags_of_pieces_become_tags_of_characters() -> None:
    form = Form(task="t", kind="tagging", labels=("B-PS", "I-PS", "O"), characters=True)
    of_word = np.array([0, 0, -1, 1, -1, 2, 2])
    assert _tags_of(of_word, np.array([0, 1, 2]), form) == ["B-PS", "I-PS", "I-PS", "I-PS", "O", "O", "O"]
    assert _tags_of(of_word, np.array([0, 0, 0]), form) == ["B-PS", "I-PS", "O", "B-PS", "O", "B-PS", "I-PS"]


def window(context: str, words: list[str], begin: dict[str, float], end: dict[str, float], nothing: float) -> tuple[Item, np.ndarray]:
    """A window of a context with a score for some of its words."""
    edges = np.array([(context.index(word), context.index(word) + len(word)) for word in words])
    scores = np.zeros((len(words) + 1, 2), np.float32)
    scores[0] = nothing
    for place, word in enumerate(words, 1):
        scores[place] = begin.get(word, 0.0), end.get(word, 0.0)
    row = Row(np.zeros(len(words) + 1, np.int64), 0, (np.arange(len(words) + 1),))
    return Item(0, (row,), edges=edges), scores


def test_the_answer_is_the_likeliest_part_that_does_not_end_before_it_begins() -> None:
    context = "서울 시 한가운데 강 이 흐른다"
    words = context.split()
    question = Question("1", "?", context)
    item, scores = window(context, words, {"한가운데": 5.0}, {"서울": 9.0, "강": 4.5}, -1.0)
    text, doubt = answer(question, [item], [scores])
    likely = scores - np.log(np.exp(scores).sum(0))
    best = max((likely[i, 0] + likely[j, 1], words[i - 1], words[j - 1]) for i in range(1, 7) for j in range(i, 7))
    assert text == context[context.index(best[1]) : context.index(best[2]) + len(best[2])] != ""
    assert doubt == pytest.approx(float(likely[0].sum() - best[0]), abs=1e-5)
    sure, certain = window(context, words[3:], {"강": 9.0}, {"강": 9.0}, -5.0)
    assert answer(question, [item, sure], [scores, certain])[0] == "강"
    empty = Item(0, item.rows, edges=np.zeros((0, 2), np.int64))
    assert answer(question, [empty], [scores[:1]])[0] == ""


def test_an_answer_has_at_most_so_many_pieces() -> None:
    words = [f"w{place:02}" for place in range(LONGEST + 5)]
    context = " ".join(words)
    item, scores = window(context, words, {"w00": 9.0}, {words[LONGEST]: 9.0, words[LONGEST - 1]: 8.0}, 0.0)
    assert answer(Question("1", "?", context), [item], [scores])[0].split() == words[:LONGEST]


def test_the_threshold_is_where_dev_scores_best() -> None:
    questions = [Question(str(number), "?", "x y", (("x", 0),) if number % 3 else ()) for number in range(12)]
    doubts = [0.1 * number if question.answers else 0.75 + 0.1 * number for number, question in enumerate(questions)]
    texts = ["x" if number % 5 else "y" for number in range(12)]
    found = threshold(questions, texts, doubts, metric=answers.squad2, main="f1")

    def score(level: float) -> float:
        return answers.squad2(questions, ["" if doubt > level else text for text, doubt in zip(texts, doubts, strict=True)])["f1"]

    assert score(found) == pytest.approx(max(score(level) for level in [-1.0, *doubts]))


def test_rows_of_similar_length_are_computed_together() -> None:
    sizes = [3, 90, 10, 9, 50, 88, 4, 60]
    found = list(alike(sizes))
    assert sorted(place for group in found for place in group) == list(range(8))
    assert all(min(sizes[place] for place in group) >= 0.6 * max(sizes[place] for place in group) for group in found)
    assert len(found) == 3 or len(found) == 4
