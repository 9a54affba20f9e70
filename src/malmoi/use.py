"""What a finished run is good for: its encoder, its scores on a text, the texts that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malmoi import evals
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress
from malmoi.core.recipe import RowsSpec, TextSpec
from malmoi.core.spec import validate
from malmoi.corpus import read, word_splitter
from malmoi.objectives import BiLM, Causal, Masked, Replaced, SkipGram
from malmoi.objectives import Sequence as SequenceToSequence
from malmoi.prepare import aligned
from malmoi.readout import Encoder, Sampling, StaticEncoder, TokenEncoder, Translator, Writer, warm_state
from malmoi.run import Run
from malmoi.shards import Shards
from malmoi.vocab import EncodedText, Subwords, Vocabulary, encode_documents

Sources = Sequence[str | Path]


def encoder_of(run: Run) -> Encoder | TokenEncoder | StaticEncoder:
    """What `malmoi.load` gives. Raises MalmoiError M060 for a Transformer without subwords."""
    if isinstance(run.objective, SkipGram):
        assert isinstance(run.vocabulary, Vocabulary)
        size, split = run.objective.output_size, word_splitter(run.spec.text.words)
        return StaticEncoder(run.objective.model, run.vocabulary, size=size, split=split)
    if isinstance(run.objective, BiLM):
        assert isinstance(run.vocabulary, Vocabulary)
        models = run.objective.forward_model, run.objective.backward_model
        return Encoder(*models, vocabulary=run.vocabulary, split=word_splitter(run.spec.text.words), warm=run.warm)
    vocabulary, length = subwords_of(run, "embed")
    return TokenEncoder(run.objective.model, vocabulary, length, layout=run.objective.reading)


def usual_layer(run: Run) -> str:
    """Which layer is read where nobody says: the mix, or the top one of a run whose vectors of sentences were trained, which is theirs."""
    return "top" if "sentences" in run.manifest else "mix"


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
    run.refuse_headless()
    if isinstance(run.objective, SkipGram):
        problem = "it has vectors of words and no likelihood of a text"
        next = "score its vectors: malmoi probe RUN wordsim353 --data FILE, or any other task."
        raise MalmoiError("M060", path=run.path, what="score a text", problem=problem, next=next)
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
        exact = _exact_matches(run.objective, vocabulary, length, encoded)
        return {"step": run.step, **of_targets.model_dump(mode="json", exclude_none=True), "exact_match": exact}
    assert isinstance(run.objective, Causal)
    return {"step": run.step, **evals.evaluate_causal(run.objective, encoded[0], **how).model_dump(mode="json", exclude_none=True)}


def generate(
    run: Run, prompt: str, *, source: str | None, tokens: int | None, sampling: Sampling | None, beam: int | None, seed: int, count: int
) -> list[str]:
    """The texts of `malmoi.generate`. sampling: None for the defaults. Raises MalmoiError M009, M052, M060."""
    run.refuse_headless()
    if isinstance(run.objective, SequenceToSequence):
        if source is None or prompt or (sampling is not None and (beam is not None or not sampling.greedy)):
            problem = "a sequence model searches for the best text for a source" if source else "a sequence model reads a source"
            next = "give --source TEXT, and --greedy or --beam K."
            raise MalmoiError("M009", argument="the prompt", value=prompt, problem=problem, next=next)
        vocabulary, length = subwords_of(run, "write")
        translator = Translator(run.objective.model, run.objective.decoder, vocabulary, length)
        how = {"beam": 1, "penalty": 0.0} if sampling is not None else {"beam": beam or max(4, count)}
        return translator.translate([source], tokens=tokens, count=count, **how)[0]
    if not isinstance(run.objective, Causal):
        kind, next = (
            run.spec.objective.kind,
            "train a model that can: gpt2-small goes on with a text, transformer-small makes one of another.",
        )
        whats = {"bilm": "it has two directions and no sampler", "skipgram": "it has vectors of words and no next word"}
        what = whats.get(kind, "it fills gaps and has no next token")
        raise MalmoiError("M060", path=run.path, what="write text", problem=f"its objective is {kind}: {what}", next=next)
    if source is not None or beam is not None:
        argument, value = ("source", source) if source is not None else ("beam", beam)
        problem, next = (
            "a causal model goes on with a prompt, by drawing",
            "give a prompt, and --greedy or --temperature, --top-k, --top-p.",
        )
        raise MalmoiError("M009", argument=argument, value=value, problem=problem, next=next)
    writer = Writer(run.objective.model, *subwords_of(run, "write"))
    return writer.write([prompt], tokens=100 if tokens is None else tokens, count=count, sampling=sampling, seed=seed)[0]


def _exact_matches(objective: SequenceToSequence, vocabulary: Subwords, length: int, sides: list[EncodedText]) -> float:
    """Share of the targets that greedy search finds to the letter (of what decoding keeps)."""
    sources, targets = ([vocabulary.decode(ids) for ids in np.split(side.ids, side.ends[:-1])] for side in sides)
    found = Translator(objective.model, objective.decoder, vocabulary, length).translate(sources, beam=1, penalty=0.0)
    return sum(texts[0] == target for texts, target in zip(found, targets, strict=True)) / len(targets)


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
