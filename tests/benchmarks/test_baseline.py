"""The baseline computes what malmoi computes: with the same weights, the same likelihoods."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from malmoi.core.recipe import (
    BackboneSpec,
    CharacterCNNSpec,
    CharacterSpec,
    FullSoftmaxSpec,
    LSTMSpec,
    ModelSpec,
    RunSpec,
    VocabularyHeadSpec,
)
from malmoi.objectives import BiLM, build
from malmoi.shards import document_batches
from malmoi.vocab import EncodedText, Vocabulary, encode_documents

SPEC = RunSpec(
    name="small",
    characters=CharacterSpec(length=12),
    model=ModelSpec(
        width=8,
        dropout=0.0,
        frontend=CharacterCNNSpec(width=4, filters=((1, 4), (2, 4), (3, 6)), highway=1),
        backbone=BackboneSpec(depth=2, mixer=LSTMSpec(cell=12), residual_from=1),
        head=VocabularyHeadSpec(size=7, softmax=FullSoftmaxSpec()),
    ),
)
DOCUMENTS = [["the", "cat", "sat", "on", "the", "mat."], ["a"], ["the", "extraordinarily", "long", "word", "the", "cat."], ["cat"] * 11]


@pytest.fixture
def baseline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import baseline_elmo

    return baseline_elmo


@pytest.fixture
def vocabulary() -> Vocabulary:
    counts: dict[str, int] = {}
    for word in (word for document in DOCUMENTS[:2] for word in document):
        counts[word] = counts.get(word, 0) + 1
    return Vocabulary.build(counts, SPEC.characters)


@pytest.fixture
def text(vocabulary: Vocabulary) -> EncodedText:
    found = encode_documents(DOCUMENTS, vocabulary)
    assert found.extra and len(vocabulary) > SPEC.model.head.size  # words to spell that are not known, words to read that are no target
    return found


def twins(baseline: ModuleType, vocabulary: Vocabulary) -> tuple[BiLM, torch.nn.Module]:
    """malmoi's model, and the baseline with its weights."""
    theirs = build(SPEC, words=len(vocabulary), characters=vocabulary.characters.size).eval()
    ours = baseline.Baseline(SPEC, words=len(vocabulary), characters=vocabulary.characters.size).eval()
    frontend = theirs.forward_model.frontend
    with torch.no_grad():
        theirs.head.bias.normal_()
        pairs = [(ours.characters.embedding.weight, frontend.embedding)]
        pairs += [(ours.softmax.weight, theirs.head.weight), (ours.softmax.bias, theirs.head.bias)]
        modules = list(zip(ours.characters.convolutions, frontend.convolutions, strict=True))
        modules += [(ours.characters.projection, frontend.projection)]
        modules += list(zip(ours.characters.transforms, (highway.transform for highway in frontend.highways), strict=True))
        modules += list(zip(ours.characters.gates, (highway.gate for highway in frontend.highways), strict=True))
        for mine, other in modules:
            pairs += [(mine.weight, other.weight), (mine.bias, other.bias)]
        for direction, (_, model) in zip(ours.directions, theirs.directions(), strict=True):
            for lstm, block in zip(direction.layers, model.backbone.blocks, strict=True):
                mixer = block.mixer
                lstm.bias_hh_l0.zero_()
                pairs += [(lstm.weight_ih_l0, mixer.input), (lstm.weight_hh_l0, mixer.recurrent)]
                pairs += [(lstm.weight_hr_l0, mixer.projection), (lstm.bias_ih_l0, mixer.bias + mixer.forget)]
        for mine, other in pairs:
            mine.copy_(other)
    assert sum(mine.numel() for mine, _ in pairs) + 4 * 4 * 12 == sum(parameter.numel() for parameter in ours.parameters())
    return theirs, ours


def test_same_weights_same_perplexity(baseline: ModuleType, vocabulary: Vocabulary, text: EncodedText) -> None:
    theirs, ours = twins(baseline, vocabulary)
    totals, count = np.zeros(2), 0
    for chunks, _ in document_batches(text, tokens=64, window=5):
        carry = None
        for batch in chunks:
            score = theirs.score(batch, carry)
            carry = score.carry
            totals += [half.sum().item() for half in score.nll.chunk(2)]
            count += int((batch.targets["next"] >= 0).sum()) // 2
    found = baseline.evaluate(ours, baseline.Text(text.ids, text.ends), text.spelling, tokens=20)
    assert found["predictions"] == count == sum(map(len, DOCUMENTS)) + len(DOCUMENTS)
    assert np.log(found["forward_perplexity"]) == pytest.approx(totals[0] / count, abs=1e-5)
    assert np.log(found["backward_perplexity"]) == pytest.approx(totals[1] / count, abs=1e-5)
    assert abs(totals[0] - totals[1]) > 1e-3  # the directions differ, or the test could not tell them apart


def test_training_loss_of_one_document(baseline: ModuleType, vocabulary: Vocabulary) -> None:
    theirs, ours = twins(baseline, vocabulary)
    one = encode_documents(DOCUMENTS[:1], vocabulary)
    ((chunks, _),) = document_batches(one, tokens=64, window=64)
    (batch,) = chunks
    document = baseline.Text(one.ids, one.ends)
    batch_of_one = baseline.tensors(*document.batch(document.documents), one.spelling)
    losses = [torch.nn.functional.cross_entropy(ours.softmax(vectors), targets).item() for vectors, targets in ours(*batch_of_one)]
    assert sum(losses) / 2 == pytest.approx(theirs.loss(batch).total.item(), abs=1e-5)


def test_sentences_predict_everything_once(baseline: ModuleType, vocabulary: Vocabulary, text: EncodedText) -> None:
    known = Vocabulary.build({word: 1 for document in DOCUMENTS for word in document}, SPEC.characters)
    found = encode_documents(DOCUMENTS, known)
    marked = baseline.Text(found.ids, found.ends)
    spans = marked.sentences(known, 4)
    assert (spans[:, 1] - spans[:, 0]).max() == 5
    forward = np.concatenate([np.arange(start + 1, stop) for start, stop in spans])
    backward = np.concatenate([np.arange(start, stop - 1) for start, stop in spans])
    starts, stops = marked.documents.T
    assert sorted(forward) == sorted(set(range(len(marked.ids))) - set(starts))
    assert sorted(backward) == sorted(set(range(len(marked.ids))) - set(stops - 1))


def test_training_learns(baseline: ModuleType, vocabulary: Vocabulary) -> None:
    found = encode_documents(DOCUMENTS[:2] * 20, vocabulary)
    marked = baseline.Text(found.ids, found.ends)
    torch.manual_seed(0)
    model = baseline.Baseline(SPEC, words=len(vocabulary), characters=vocabulary.characters.size)
    before = baseline.evaluate(model, marked, found.spelling)["perplexity"]
    spans = marked.sentences(vocabulary, 40)
    for _ in range(10):  # seconds: how many steps they hold is the machine's affair
        facts = baseline.train(model, marked, spans, found.spelling, rows=8, seconds=1.0, rate=1e-2)
        assert facts["words"] / facts["seconds"] == pytest.approx(facts["words_per_second"])
        if (after := baseline.evaluate(model, marked, found.spelling)["perplexity"]) < before / 1.5:
            break
    assert after < before / 1.5
