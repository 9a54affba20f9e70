"""What a finished run is good for: its encoder, its scores on a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from malmoi import evals
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress
from malmoi.core.recipe import RowsSpec, TextSpec
from malmoi.core.spec import validate
from malmoi.corpus import read, word_splitter
from malmoi.objectives import BiLM, Causal, Masked, Replaced
from malmoi.objectives import Sequence as SequenceToSequence
from malmoi.prepare import aligned
from malmoi.readout import Encoder, TokenEncoder, warm_state
from malmoi.readout.tokens import Layout
from malmoi.run import Run
from malmoi.shards import Shards
from malmoi.vocab import Subwords, Vocabulary, encode_documents

Sources = Sequence[str | Path]
LAYOUTS: dict[str, Layout] = {"causal": "causal", "sequence": "source"}
"""How each objective reads a text; all others: between two marks."""


def encoder_of(run: Run) -> Encoder | TokenEncoder:
    """What `malmoi.load` gives. Raises MalmoiError M060 for a Transformer without subwords."""
    if isinstance(run.objective, BiLM):
        assert isinstance(run.vocabulary, Vocabulary)
        models = run.objective.forward_model, run.objective.backward_model
        return Encoder(*models, vocabulary=run.vocabulary, split=word_splitter(run.spec.text.words), warm=run.warm)
    vocabulary, length = subwords_of(run, "embed")
    return TokenEncoder(run.objective.model, vocabulary, length, layout=LAYOUTS.get(run.spec.objective.kind, "single"))


def subwords_of(run: Run, what: str) -> tuple[Subwords, int]:
    """The vocabulary of a Transformer's run, and how many positions it reads at once: as many as in training."""
    if not isinstance(run.vocabulary, Subwords) or not isinstance(run.spec.stream, RowsSpec):
        next = "train with subwords, as the recipes of Transformers do."
        raise MalmoiError("M060", path=run.path, what=what, problem="it has the objective of a Transformer without subwords", next=next)
    return run.vocabulary, run.spec.stream.length


def score(
    run: Run, *, on: Sources, pairs: Sources, state: str, batch_tokens: int, document: str | None, progress: Progress | None
) -> dict[str, Any]:
    """What `malmoi.evaluate` gives, but for the name of the run. Raises MalmoiError M009, M052 or M060."""
    if not run.has_head:
        raise MalmoiError("M052", path=run.path)
    if bool(on) == bool(pairs):
        given, next = " ".join(map(str, [*on, *pairs])), "give --on SOURCE..., or --pairs SOURCE TARGET for a sequence model."
        raise MalmoiError("M009", argument="what to score", value=given, problem="it is either a text or pairs of texts", next=next)
    if bool(pairs) != isinstance(run.objective, SequenceToSequence):
        problem, next = ("it reads pairs of texts", "give --pairs SOURCE TARGET.") if on else ("it reads one text", "give --on SOURCE...")
        raise MalmoiError("M060", path=run.path, what=f"score {'--on' if on else '--pairs'}", problem=problem, next=next)
    if state != "reset" and not isinstance(run.objective, BiLM):
        raise MalmoiError("M009", argument="state", value=state, problem="only a biLM has states", next="leave it at reset.")
    text = run.spec.text if document is None else validate(TextSpec, {**run.spec.text.model_dump(), "document": document})
    if isinstance(run.objective, BiLM):
        found = _of_bilm(run, run.objective, on, text, state=state, batch_tokens=batch_tokens, progress=progress)
        return {"step": run.step, "state": state, **found.model_dump(mode="json")}
    texts = [(each.text for each in read(on, text))] if on else aligned(pairs)
    vocabulary, length = subwords_of(run, "score")
    encoded = [encode_documents(side, vocabulary) for side in texts]
    how: dict[str, Any] = {"marks": vocabulary.marks, "length": length, "batch_tokens": batch_tokens, "progress": progress}
    if isinstance(run.objective, Masked | Replaced):
        masked = evals.evaluate_masked(run.objective, encoded[0], **how)
        return {"step": run.step, **masked.model_dump(mode="json", exclude_none=True)}
    if (run.path / "shards" / "manifest.json").is_file():
        shards = Shards.open(run.path / "shards", vocabulary)
        how["unigram"] = evals.unigram_of(shards, size=run.objective.output_size, marks=vocabulary.marks)
    if isinstance(run.objective, SequenceToSequence):
        of_targets = evals.evaluate_pairs(run.objective, *encoded, **how)
        return {"step": run.step, **of_targets.model_dump(mode="json", exclude_none=True)}
    assert isinstance(run.objective, Causal)
    return {"step": run.step, **evals.evaluate_causal(run.objective, encoded[0], **how).model_dump(mode="json", exclude_none=True)}


def _of_bilm(
    run: Run, objective: BiLM, on: Sources, text: TextSpec, *, state: Any, batch_tokens: int, progress: Progress | None
) -> evals.Evaluation:
    vocabulary = run.vocabulary
    assert isinstance(vocabulary, Vocabulary)
    split = word_splitter(text.words)
    encoded = encode_documents((split(each.text) for each in read(on, text)), vocabulary)
    models = objective.forward_model, objective.backward_model
    warm = (run.warm or warm_state(*models, vocabulary=vocabulary)) if state == "warm" else None
    words = evals.unigram(vocabulary.counts, size=objective.output_size, documents=int(run.manifest["documents"]))
    return evals.evaluate(objective, encoded, state=state, warm=warm, batch_tokens=batch_tokens, unigram=words, progress=progress)
