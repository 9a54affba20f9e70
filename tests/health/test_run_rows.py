"""Whole small runs over rows of subwords under the doctor's eyes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from malmoi.core.progress import Silent
from malmoi.core.recipe import RunSpec, SubwordSpec, TrainingSpec
from malmoi.health import examine_corpus, examine_run, examine_shards
from malmoi.health import run as history
from malmoi.health.data import FALL_BACK
from malmoi.health.readout import tokens_agree
from malmoi.objectives import build
from malmoi.readout import TokenEncoder
from malmoi.shards import Packed, Pairs, write_shards
from malmoi.train import fit
from malmoi.vocab import Subwords

STEPS = 12
KINDS = ("causal", "masked", "next", "order", "replaced", "sequence")


@pytest.fixture(scope="module")
def texts(documents):
    """Texts of several sentences over 60 words."""
    return [" ".join(words).replace("w7", "w7.") + ". " + " ".join(reversed(words)) + "." for words in documents(120)]


@pytest.fixture(scope="module")
def corpus(texts, tmp_path_factory):
    place = tmp_path_factory.mktemp("rows")
    vocabulary = Subwords.train(texts, SubwordSpec(size=90, minimum_count=1))
    shards = write_shards(place / "shards", vocabulary.encode_sentences(texts), vocabulary)
    source = write_shards(place / "sources", vocabulary.encode_batch([text[: len(text) // 2] for text in texts]), vocabulary)
    return SimpleNamespace(vocabulary=vocabulary, shards=shards, source=source, place=place)


@pytest.fixture(scope="module")
def run(small, corpus, tmp_path_factory):
    """(kind) -> a run of a few steps, as `fit` leaves it."""
    done = {}

    def make(kind):
        if kind not in done:
            torch.set_num_threads(1)
            training = TrainingSpec(steps=STEPS, optimizer={"kind": "adamw"}, learning_rate=1e-3, validations=0)
            spec = RunSpec.model_validate({**small(kind, spec=True).model_dump(), "training": training.model_dump()})
            objective = build(spec, **corpus.vocabulary.sizes())
            where = {"marks": corpus.vocabulary.marks, "rows": 4, "length": 16, "seed": 0}
            layout = {"masked": "single", "replaced": "single"}.get(kind, kind)
            if kind == "sequence":
                batches = Pairs(corpus.source, corpus.shards, **where)
            else:
                batches = Packed(corpus.shards, layout=layout, **where)
            directory = tmp_path_factory.mktemp(kind)
            device = torch.device("cpu")
            fit(objective, batches=batches, spec=training, seed=0, directory=directory, device=device, progress=Silent())
            done[kind] = SimpleNamespace(spec=spec, objective=objective.eval(), directory=directory)
        return done[kind]

    return make


def examined(run, corpus, kind, **changes):
    parts = {"objective": run.objective, "directory": run.directory, "step": STEPS, "shards": corpus.shards, **changes}
    parts |= {"source": corpus.source} if kind == "sequence" else {}
    return examine_run(run.spec, vocabulary=corpus.vocabulary, **parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_run_is_healthy(run, corpus, kind):
    made = run(kind)
    before = {name: tensor.clone() for name, tensor in made.objective.state_dict().items()}
    state = torch.get_rng_state()
    findings = examined(made, corpus, kind)
    assert [finding for finding in findings if finding.level == "error"] == []
    said = " ".join(finding.message for finding in findings)
    checks = "leak: none,one path,evaluation,dropout,sharing,packing,accumulation,readout,moved,start,checkpoints,documents,unknown words"
    for check in checks.split(","):
        assert check in said, check
    assert ("detector" in said) == (kind == "replaced") and "ranks" not in said and "state:" not in said
    assert said.count("ln(2) is 0.69") == (kind in ("next", "order", "replaced"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.objective.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and not any(module.training for module in made.objective.modules())


def test_weights_that_never_moved_are_found(run, corpus):
    made = run("replaced")
    fresh = build(made.spec, **corpus.vocabulary.sizes())
    stuck = "model.backbone.blocks.1.attention.part.qkv.weight"
    with torch.no_grad():
        fresh.get_parameter(stuck).copy_(made.objective.get_parameter(stuck))
    found = {finding.code: finding for finding in examined(made, corpus, "replaced", fresh=fresh)}
    assert stuck in found["M114"].message and found["M114"].level == "error"


@pytest.mark.parametrize("kind", ["causal", "masked", "sequence"])
def test_a_readout_of_its_own_is_found(run, corpus, kind, monkeypatch):
    made = run(kind)
    given = TokenEncoder.encode
    monkeypatch.setattr(TokenEncoder, "encode", lambda self, *args, **kwargs: [1.01 * each for each in given(self, *args, **kwargs)])
    assert "M132" in {finding.code for finding in examined(made, corpus, kind) if finding.level == "error"}


def test_a_readout_in_the_layout_of_another_objective_is_found(run, corpus, monkeypatch):
    """A causal model that is read with an end mark would not matter; a masked one without its marks does."""
    made = run("masked")
    honest = TokenEncoder.__init__
    monkeypatch.setattr(TokenEncoder, "__init__", lambda self, *args, layout: honest(self, *args, layout="causal"))
    (finding,) = tokens_agree(made.objective, corpus.vocabulary, [corpus.shards.ids(0, 10)])
    assert finding.code == "M132"


def test_an_imported_run_is_examined_without_its_text(run, corpus, tmp_path):
    made = run("next")
    findings = examine_run(made.spec, objective=made.objective, vocabulary=corpus.vocabulary, shards=None, directory=tmp_path, step=0)
    assert {finding.level for finding in findings} == {"info"} and len(findings) >= 8


def test_shards_of_subwords_are_told_of_unknown_pieces_alone(corpus, tmp_path, texts):
    findings = examine_shards(corpus.place / "shards", corpus.vocabulary)
    assert {finding.code for finding in findings} <= {"M100", "M105", "M103"}
    assert any("0.00% of the tokens in the shards are <unk> with" in finding.message for finding in findings)
    ids = corpus.vocabulary.encode_batch(["한글은 모른다 " * 100, *texts[:2]])
    write_shards(tmp_path / "foreign", ids, corpus.vocabulary)
    found = {finding.code: finding for finding in examine_shards(tmp_path / "foreign", corpus.vocabulary)}
    unknown = float(np.mean(np.concatenate(ids) == 1))
    assert found["M101"].level == "error" and found["M101"].next == FALL_BACK
    assert f"{unknown:.1%} of the tokens in the shards" in found["M101"].message


def test_repeated_documents_of_subwords_are_shown_as_text(corpus, tmp_path, texts):
    write_shards(tmp_path / "s", corpus.vocabulary.encode_batch([*texts[:20], *["w1 w2 w3"] * 30]), corpus.vocabulary)
    found = {finding.code: finding for finding in examine_shards(tmp_path / "s", corpus.vocabulary)}
    assert "30 times: 'w1 w2 w3'" in found["M103"].message


def test_a_corpus_of_another_script_floods_subwords(corpus, tmp_path, texts):
    (tmp_path / "own.txt").write_text("\n\n".join(texts), encoding="utf-8")
    assert "M101" not in {finding.code for finding in examine_corpus([tmp_path / "own.txt"], vocabulary=corpus.vocabulary)}
    (tmp_path / "other.txt").write_text("\n\n".join(["모르는 글자 뿐인 글"] * 3 + texts[:1]), encoding="utf-8")
    found = {finding.code: finding for finding in examine_corpus([tmp_path / "other.txt"], vocabulary=corpus.vocabulary)}
    assert found["M101"].level == "error" and found["M101"].next == FALL_BACK and "pieces of the corpus" in found["M101"].message


def test_the_likelihood_is_told_from_the_loss():
    lines = [
        {"step": 1, "loss": 60.0, "generator": 4.0, "valid_loss": 61.0, "valid_generator": 4.5},
        {"step": 2, "loss": 9.0, "masked": 3.0},
    ]
    assert history.likelihoods(lines, "causal") == lines
    assert history.likelihoods(lines[:1], "replaced")[0] | {} == {
        "step": 1,
        "generator": 4.0,
        "valid_generator": 4.5,
        "loss": 4.0,
        "valid_loss": 4.5,
    }
    assert history.likelihoods(lines[1:], "masked")[0]["loss"] == 3.0
    assert "loss" not in history.likelihoods(lines[1:], "sequence")[0]


def test_gradients_of_a_heavy_loss_may_be_cut_more():
    metrics = [{"step": step, "loss": 1.0, "gradient_norm": 20.0} for step in range(200)]
    spec = TrainingSpec(steps=200, optimizer={"kind": "adamw"}, clip_norm=1.0)
    assert history.gradients(metrics, spec)[0].code == "M129"
    assert history.gradients(metrics, spec, weight=50.0)[0].level == "info"


def test_every_part_of_a_loss_must_be_a_number():
    for name in ("next", "masked", "pair", "generator", "replaced"):
        (finding,) = history.finite([{"step": 3, "loss": 1.0, name: float("nan")}])
        assert finding.code == "M127" and name in finding.message
