"""What a run is good for: the encoder, the scores and the texts that fit its objective, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from malmoi import evals
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import (
    AttentionSpec,
    BackboneSpec,
    BiLMSpec,
    CausalSpec,
    MaskedSpec,
    MLPSpec,
    ModelSpec,
    ReplacedSpec,
    RowsSpec,
    RunSpec,
    SequenceSpec,
    SubwordSpec,
    TokenEmbeddingSpec,
    VocabularyHeadSpec,
)
from malmoi.objectives import build
from malmoi.readout import Sampling, TokenEncoder, Translator, Writer, write_vectors
from malmoi.run import Run
from malmoi.shards import write_shards
from malmoi.use import encoder_of, generate, score
from malmoi.vocab import Subwords, encode_documents

TEXTS = ["말모이는 사전이다. 낱말을 모은다.", "a dictionary gathers words.", "the river of words has a bank."]
TARGETS = ["a dictionary. it gathers words.", "말모이.", "words of a river."]
LENGTH = 16
OBJECTIVES: dict[str, Any] = {
    "causal": CausalSpec(),
    "masked": MaskedSpec(),
    "order": MaskedSpec(pair="order"),
    "replaced": ReplacedSpec(),
    "sequence": SequenceSpec(),
}
KEYS = {"step", "bits_per_byte", "unknown_rate", "tokens", "documents", "bytes", "length"}
LIKELY = {"perplexity", "accuracy", "scored", "unigram_perplexity"}
MASKED = {"pseudo_perplexity", "masked_accuracy"}
TOLD = {
    "causal": LIKELY,
    "masked": MASKED,
    "order": MASKED | {"pair_accuracy"},
    "replaced": MASKED | {"replaced_accuracy", "replaced_base", "replaced_found"},
    "sequence": LIKELY | {"cut", "exact_match"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs as `load_run` opens them, but for the files that no test here reads; weights are drawn."""
    vocabulary = Subwords.train([*TEXTS, *TARGETS] * 3, SubwordSpec(algorithm="bpe", size=360, minimum_count=1))
    found = {}
    for kind, objective in OBJECTIVES.items():
        model = ModelSpec(
            width=16,
            frontend=TokenEmbeddingSpec(width=8 if kind == "replaced" else None, positions="learned", length=32, types=2),
            backbone=BackboneSpec(
                depth=2,
                mixer=AttentionSpec(heads=4, sees="causal" if kind == "causal" else "full"),
                feedforward=MLPSpec(width=32),
                norm="pre",
            ),
            head=VocabularyHeadSpec(tied=True, transform="gelu"),
        )
        spec = RunSpec(name=kind, subwords=SubwordSpec(), objective=objective, stream=RowsSpec(rows=4, length=LENGTH), model=model)
        path = tmp_path_factory.mktemp(kind)
        write_shards(path / "shards", [vocabulary.encode(text) for text in TEXTS], vocabulary)
        built = build(spec, **vocabulary.sizes()).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        found[kind] = Run(path, spec, {"head": True}, vocabulary, built, path / "checkpoints", 7, None)
    return found


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    sides = tmp_path / "source.txt", tmp_path / "target.txt"
    for path, texts in zip(sides, (TEXTS, TARGETS), strict=True):
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return sides


def scored(run: Run, **what: Any) -> dict[str, Any]:
    return score(run, **{"on": (), "pairs": (), "state": "reset", "batch_tokens": 64, "document": "line", "progress": None} | what)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_scores_are_those_of_evals(kind: str, runs: dict[str, Run], files: tuple[Path, Path]) -> None:
    run = runs[kind]
    vocabulary, objective = run.vocabulary, run.objective
    assert isinstance(vocabulary, Subwords)
    found = scored(run, pairs=files) if kind == "sequence" else scored(run, on=[files[0]])
    assert set(found) == KEYS | TOLD[kind] and found["step"] == 7 and None not in found.values()
    sides = [encode_documents(texts, vocabulary) for texts in (TEXTS, TARGETS)]
    how: dict[str, Any] = {"marks": vocabulary.marks, "length": LENGTH}
    measure: Any = {"causal": evals.evaluate_causal, "sequence": evals.evaluate_pairs}.get(kind, evals.evaluate_masked)
    expected = measure(objective, *(sides if kind == "sequence" else sides[:1]), **how)
    for name, value in expected.model_dump(exclude_none=True).items():
        assert found[name] == pytest.approx(value, rel=1e-6), name
    assert found["tokens"] == len(sides[kind == "sequence"].ids) and found["length"] == LENGTH


def test_a_sequence_model_that_knows_its_pairs_has_exact_matches(runs: dict[str, Run], files: tuple[Path, Path], monkeypatch: Any) -> None:
    assert scored(runs["sequence"], pairs=files)["exact_match"] == 0.0
    known = dict(zip(TEXTS[:2], TARGETS, strict=False))

    def translate(self: Translator, sources: list[str], **_: Any) -> list[list[str]]:
        return [[known.get(source, "?")] for source in sources]

    monkeypatch.setattr(Translator, "translate", translate)
    assert scored(runs["sequence"], pairs=files)["exact_match"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("kind", "what", "message"),
    [
        ("masked", {}, "M009: what to score"),
        ("causal", {"on": ["a"], "pairs": ["a", "b"]}, "M009: what to score"),
        ("masked", {"pairs": ["a", "b"]}, "M060: .* cannot score --pairs"),
        ("sequence", {"on": ["a"]}, "M060: .* cannot score --on"),
        ("causal", {"on": ["a"], "state": "warm"}, "M009: state is 'warm'"),
    ],
)
def test_what_does_not_fit_is_not_scored(kind: str, what: Any, message: str, runs: dict[str, Run]) -> None:
    with pytest.raises(MalmoiError, match=message):
        scored(runs[kind], **what)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_encoder_reads_the_model_that_is_exported(kind: str, runs: dict[str, Run]) -> None:
    run = runs[kind]
    assert isinstance(run.vocabulary, Subwords)
    encoder = encoder_of(run)
    layout: Any = {"causal": "causal", "sequence": "source"}.get(kind, "single")
    direct = TokenEncoder(run.objective.model, run.vocabulary, LENGTH, layout=layout)
    for one, other in zip(encoder.encode(TEXTS), direct.encode(TEXTS), strict=True):
        np.testing.assert_array_equal(one, other)
    if kind == "causal":  # a token's vector sees nothing behind it
        short, long = direct.encode(["a dictionary", "a dictionary gathers"])
        np.testing.assert_allclose(long[: len(short)], short, atol=1e-6)


def test_files_of_vectors(runs: dict[str, Run], tmp_path: Path) -> None:
    encoder, vocabulary = encoder_of(runs["masked"]), runs["masked"].vocabulary
    assert isinstance(vocabulary, Subwords)
    lines = [*TEXTS, ""]
    assert write_vectors(tmp_path / "v.npz", encoder.stream(lines, layer="all")) == 4
    with np.load(tmp_path / "v.npz") as archive:
        assert sorted(archive) == ["0", "1", "2", "3"]
        assert [archive[str(k)].shape for k in range(4)] == [(3, len(vocabulary.encode(line)), 16) for line in lines]
        assert archive["0"].dtype == np.float32
    write_vectors(tmp_path / "v.parquet", encoder.stream(lines))
    table = pq.read_table(tmp_path / "v.parquet").to_pydict()
    expected = [(line, vocabulary.tokens[id]) for line, text in enumerate(lines) for id in vocabulary.encode(text)]
    assert list(zip(table["line"], table["token"], strict=True)) == expected and {len(each) for each in table["vector"]} == {16}


def written(run: Run, prompt: str = "", **how: Any) -> list[str]:
    defaults = {"source": None, "tokens": 5, "sampling": None, "beam": None, "seed": 3, "count": 1}
    return generate(run, prompt, **defaults | how)


def test_texts_are_those_of_writer_and_translator(runs: dict[str, Run]) -> None:
    causal, sequence = runs["causal"], runs["sequence"]
    writer = Writer(causal.objective.model, causal.vocabulary, LENGTH)  # type: ignore[arg-type]
    assert written(causal, "a river", count=2) == writer.write(["a river"], tokens=5, count=2, seed=3)[0]
    greedy = Sampling(greedy=True)
    assert written(causal, "a", sampling=greedy) == writer.write(["a"], tokens=5, sampling=greedy)[0]
    objective: Any = sequence.objective
    translator = Translator(objective.model, objective.decoder, sequence.vocabulary, LENGTH)  # type: ignore[arg-type]
    for how, expected in (
        ({}, {"beam": 4}),
        ({"beam": 2, "count": 2}, {"beam": 2, "count": 2}),
        ({"count": 6}, {"beam": 6, "count": 6}),
        ({"sampling": greedy}, {"beam": 1, "penalty": 0.0}),
    ):
        assert written(sequence, source=TEXTS[0], **how) == translator.translate([TEXTS[0]], tokens=5, **expected)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "how", "message"),
    [
        ("masked", {}, "M060: .* cannot write text: its objective is masked"),
        ("replaced", {}, "M060: .* gpt2-small goes on with a text"),
        ("sequence", {"prompt": "a"}, "M009: .*reads a source"),
        ("sequence", {"source": "a", "sampling": Sampling(top_k=3)}, "M009: .*searches"),
        ("sequence", {"source": "a", "sampling": Sampling(greedy=True), "beam": 3}, "M009"),
        ("causal", {"source": "a"}, "M009: source is 'a'"),
        ("causal", {"beam": 3}, "M009: beam is 3"),
    ],
)
def test_what_does_not_fit_is_not_written(kind: str, how: Any, message: str, runs: dict[str, Run]) -> None:
    with pytest.raises(MalmoiError, match=message):
        written(runs[kind], **how)


def test_a_run_without_output_layer_embeds_and_no_more(runs: dict[str, Run]) -> None:
    run = Run(**{**vars(runs["causal"]), "manifest": {"head": False}})
    assert encoder_of(run).encode(["a"])[0].shape[1] == 16
    for use in (lambda: scored(run, on=["a"]), lambda: written(run, "a")):
        with pytest.raises(MalmoiError, match="M052"):
            use()


def test_a_transformer_over_words_is_refused(runs: dict[str, Run]) -> None:
    from malmoi.core.recipe import CharacterSpec
    from malmoi.vocab import Vocabulary

    run = Run(**{**vars(runs["causal"]), "vocabulary": Vocabulary.build({"a": 3}, CharacterSpec())})
    assert not isinstance(run.spec.objective, BiLMSpec)
    with pytest.raises(MalmoiError, match="M060: .* without subwords"):
        encoder_of(run)
