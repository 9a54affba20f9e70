"""What `malmoi pretrain` does, in order: resolve, prepare, build, check for leaks, train, score."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence as Many
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from malmoi import run as runs
from malmoi.core.artifact import seal
from malmoi.core.devices import available, exactly, find_device, resident
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress, Silent
from malmoi.core.recipe import BiLMSpec, CharacterCNNSpec, RowsSpec, RunSpec, SequenceSpec, SkipGramSpec, StreamSpec
from malmoi.core.spec import override
from malmoi.corpus import source_files
from malmoi.evals import Evaluation, evaluate, evaluate_causal, evaluate_masked, evaluate_pairs, unigram, unigram_of
from malmoi.evals import validate as quick_scores
from malmoi.health.collapse import COSINE_ERROR, layer_vectors, mean_cosine
from malmoi.nn.frontends import convolved_places
from malmoi.objectives import BiLM, Causal, Masked, Objective, Replaced, Sequence, build
from malmoi.objectives.estimate import estimate
from malmoi.prepare import Prepared, first_words, prepare, summary
from malmoi.recipes import find
from malmoi.shards import Contexts, Packed, Pairs, Streams
from malmoi.testing import check_visibility
from malmoi.train import checkpoint as checkpoints
from malmoi.train import fit, processes, total_steps
from malmoi.train.loop import Outcome, autocast
from malmoi.train.prefetch import Prefetched
from malmoi.train.processes import own_device
from malmoi.vocab import EncodedText, Subwords, Vocabulary

WORDS_A_STEP_OF_A_TRIAL = 640
COLLAPSED = "unless this is the first hundred steps, start again with a lower training.learning_rate or a longer training.warmup."


def resolve(recipe: str, *, settings: Many[str], seed: int | None, minutes: float | None, steps: int | None, tokens: int | None) -> RunSpec:
    """The recipe with the user's settings. Raises MalmoiError M001, M002 or M009 (two budgets)."""
    budget = {name: value for name, value in (("minutes", minutes), ("steps", steps), ("tokens", tokens)) if value is not None}
    if len(budget) > 1:
        raise MalmoiError(
            "M009",
            argument="the budget",
            value=" and ".join(budget),
            problem="a run has one",
            next="give one of --minutes, --steps, --tokens.",
        )
    changes = [*settings, *([f"seed={seed}"] if seed is not None else [])]
    if budget:
        changes += [f"training.{name}=null" for name in ("minutes", "steps", "tokens", "epochs") if name not in budget]
        changes += [f"training.{name}={value}" for name, value in budget.items()]
    return override(find(recipe), changes, shown=f"recipes {recipe}")


def sources(spec: RunSpec, *, corpus: Many[str | Path], pairs: Many[str | Path]) -> Many[str | Path]:
    """What a recipe is trained on. Raises MalmoiError M009 where it wants pairs and has a corpus, or the other way round."""
    if bool(pairs) == bool(corpus) or bool(pairs) != (spec.objective.kind == "sequence"):
        wanted = "--pairs SOURCE TARGET" if spec.objective.kind == "sequence" else "--corpus"
        problem = f"objective {spec.objective.kind} is trained on {wanted} alone"
        value = " ".join([*(["--corpus"] if corpus else []), *(["--pairs"] if pairs else [])]) or "nothing"
        raise MalmoiError("M009", argument="the text", value=value, problem=problem, next=f"give {wanted}.")
    return pairs or corpus


def train(
    spec: RunSpec,
    *,
    corpus: Many[str | Path],
    valid: Many[str | Path],
    out: Path,
    device: str,
    resume: bool,
    allow_unknown: bool,
    shard: bool,
    deterministic: bool,
    progress: Progress,
) -> dict[str, Any]:
    """A whole run; see `malmoi.pretrain`. Processes of a group but the first return what they know: how it was stopped."""
    place = own_device(find_device(device))
    if deterministic:
        exactly()
    source_files([*corpus, *valid])
    with processes(place, sharded=shard) as group, runs.locked(out) if group.rank == 0 else nullcontext():
        _refuse_crowd(spec, group.world)
        progress = progress if group.rank == 0 else Silent()
        with group.first("prepared"):
            spec = runs.claim(spec, out, resume=resume) if group.rank == 0 else spec
            text = {"corpus": corpus, "valid": valid, "allow_unknown": allow_unknown}
            prepared = prepare(spec, out=out, writes=group.rank == 0, progress=progress, **text)  # type: ignore[arg-type]
        facts = summary(prepared)
        _tell(facts, progress)
        objective = build(spec, **prepared.vocabulary.sizes())
        if isinstance(prepared.vocabulary, Subwords) and objective.head.starts_at_frequency:
            words = unigram_of(prepared.shards, size=objective.output_size, marks=prepared.vocabulary.marks)
            objective.head.start_at(torch.from_numpy(words).float())
        check_visibility(objective)
        objective.to(place)
        going_on = resume and bool(checkpoints.steps(out / "checkpoints"))
        rows = Prefetched(batches(spec, prepared, rank=group.rank, world=group.world), threads=2 if place.type == "cuda" else 0)
        outcome = fit(
            objective,
            batches=rows,
            spec=spec.training,
            seed=spec.seed,
            directory=out,
            device=place,
            progress=progress,
            validate=_validator(spec, objective, prepared, place, progress) if prepared.valid else None,
            resume=going_on,
            group=group,
        )
        rows.close()
        if group.rank:
            return {"stopped": outcome.stopped}
        result = {"run": str(out), "stopped": outcome.stopped, "steps": outcome.step, **_numbers(outcome, unit_of(spec)), "text": facts}
        if outcome.stopped == "done" and prepared.valid:
            result["valid"] = _score(out, spec, prepared, place, progress)
        result["next"] = _next(out, spec, outcome)
        runs.record(out, state=outcome.stopped, step=outcome.step, tokens=outcome.tokens, seconds=outcome.seconds)
    return result


def _refuse_crowd(spec: RunSpec, world: int) -> None:
    """Raise MalmoiError M048 for more processes than there are rows to share out."""
    streams = isinstance(spec.stream, StreamSpec)
    rows = spec.stream.streams if isinstance(spec.stream, StreamSpec) else spec.stream.rows
    if world > rows:
        raise MalmoiError("M048", rows=rows, world=world, field="stream.streams" if streams else "stream.rows")


def _tell(facts: dict[str, Any], progress: Progress) -> None:
    """What is known of the text before training, in three lines."""
    if "types" in facts and "text" in facts:
        _tell_subwords(facts, progress)
        return
    unknown = (
        f"{facts['unknown_tokens']:.1%} of them ({facts['unknown_types']:.1%} of the types) outside the {facts['size']:,} output words"
    )
    progress.note(f"{facts['tokens']:,} words of {facts['types']:,} types in {facts['documents']:,} documents, {unknown}")
    progress.note("coverage by output words: " + ", ".join(f"{size:,} {share:.1%}" for size, share in facts["coverage"]))
    progress.note("longest words: " + ", ".join(f"{word} ({units})" for word, units in facts["longest"][:4]))


def _tell_subwords(facts: dict[str, Any], progress: Progress) -> None:
    progress.note(f"{facts['tokens']:,} tokens in {facts['documents']:,} documents, {facts['size']:,} pieces")
    for name in ("text", "korean", "english"):
        words = facts[name]
        if words["words"]:
            sizes = f"{words['tokens_per_word']:.2f} tokens a word, {words['bytes_per_token']:.2f} bytes a token"
            progress.note(f"{name}: {sizes}, {words['unknown']:.3%} unknown")


Batches = Streams | Packed | Pairs | Contexts


def batches(spec: RunSpec, prepared: Prepared, *, rank: int = 0, world: int = 1) -> Batches:
    """The batches of a run: of process `rank` of `world`."""
    vocabulary, stream, shards = prepared.vocabulary, spec.stream, prepared.shards
    if isinstance(stream, StreamSpec):
        assert isinstance(vocabulary, Vocabulary)
        spelling = (lambda ids: vocabulary.spelling[ids]) if spec.model.frontend.kind == "character_cnn" else None
        return Streams(shards, spelling, stream.streams, stream.window, spec.seed, rank, world)
    if isinstance(spec.objective, SkipGramSpec):
        cut: dict[str, int] = {"size": spec.model.head.size, "rows": stream.rows, "length": stream.length, "seed": spec.seed}
        return Contexts(shards, vocabulary.sizes()["counts"], spec.objective, rank=rank, world=world, **cut)
    assert isinstance(vocabulary, Subwords)
    marks, rows, length, seed = vocabulary.marks, stream.rows, stream.length, spec.seed
    if prepared.source is not None:
        return Pairs(prepared.source, shards, marks=marks, rows=rows, length=length, seed=seed, rank=rank, world=world)
    assert not isinstance(spec.objective, BiLMSpec | SequenceSpec)
    return Packed(shards, marks=marks, layout=spec.objective.layout, rows=rows, length=length, seed=seed, rank=rank, world=world)


def _validator(spec: RunSpec, objective: Objective, prepared: Prepared, device: torch.device, progress: Progress):  # type: ignore[no-untyped-def]
    assert prepared.valid is not None
    if not isinstance(objective, BiLM):
        return _row_validator(spec, objective, prepared, device, progress)
    sample = first_words(prepared.valid, spec.training.validation_tokens)

    def scored() -> dict[str, float]:
        found = _evaluate(objective, sample, prepared, device)
        assert found.unigram_perplexity is not None
        return {
            "loss": math.log(found.perplexity),
            "perplexity": found.perplexity,
            "forward": math.log(found.forward_perplexity),
            "backward": math.log(found.backward_perplexity),
            "unigram": math.log(found.unigram_perplexity),
        }

    return scored


def _row_validator(  # type: ignore[no-untyped-def]
    spec: RunSpec, objective: Objective, prepared: Prepared, device: torch.device, progress: Progress
):
    vocabulary, text = prepared.vocabulary, prepared.valid
    assert isinstance(vocabulary, Subwords) and text is not None and isinstance(spec.stream, RowsSpec)
    sides = text if prepared.valid_source is None else (prepared.valid_source, text)
    words = unigram_of(prepared.shards, size=objective.output_size, marks=vocabulary.marks)
    marks, length, tokens = vocabulary.marks, spec.stream.length, spec.training.validation_tokens
    sample = batches(spec, prepared).batch(0)

    def scored() -> dict[str, float]:
        found = quick_scores(objective, sides, marks=marks, length=length, tokens=tokens, unigram=words)
        cosine = mean_cosine(layer_vectors(objective, [sample.to(device)])[-1])
        if cosine > COSINE_ERROR and not isinstance(objective, Causal):
            problem = f"the mean cosine between random tokens is {cosine:.3f}: it tells them no longer apart"
            progress.note(str(MalmoiError("M124", layer="the last layer", problem=problem, next=COLLAPSED)))
        return {**found, "cosine": cosine}

    return scored


def _evaluate(
    objective: BiLM, text: EncodedText, prepared: Prepared, device: torch.device, *, progress: Progress | None = None
) -> Evaluation:
    assert isinstance(prepared.vocabulary, Vocabulary)
    words = unigram(prepared.vocabulary.counts, size=objective.output_size, documents=prepared.shards.documents)
    return evaluate(objective, text, unigram=words, device=device, progress=progress)


def _score(out: Path, spec: RunSpec, prepared: Prepared, device: torch.device, progress: Progress) -> dict[str, Any]:
    """The held-out text under the weights that the run is used with: all of it; for a masked model, which reads a text once for each
    of its tokens, its first `training.validation_tokens`."""
    assert prepared.valid is not None
    chosen = checkpoints.best(out / "checkpoints") or checkpoints.steps(out / "checkpoints")[-1]
    objective = build(spec, **prepared.vocabulary.sizes())  # what was trained may be divided among processes
    checkpoints.load_module(chosen, objective)
    objective.to(device).eval()
    found = _exact(spec, objective, prepared, device, progress)
    (out / "evals").mkdir(exist_ok=True)
    seal(out / "evals" / "valid.json", {"checkpoint": chosen.name, **found})
    return found


def _exact(spec: RunSpec, objective: Objective, prepared: Prepared, device: torch.device, progress: Progress) -> dict[str, Any]:
    text, vocabulary = prepared.valid, prepared.vocabulary
    assert text is not None
    if isinstance(objective, BiLM):
        return _evaluate(objective, text, prepared, device, progress=progress).model_dump(mode="json")
    assert isinstance(vocabulary, Subwords) and isinstance(spec.stream, RowsSpec)
    marks, length = vocabulary.marks, spec.stream.length
    if isinstance(objective, Masked | Replaced):
        sample = first_words(text, spec.training.validation_tokens)
        return evaluate_masked(objective, sample, marks=marks, length=length, progress=progress).model_dump(mode="json")
    words = unigram_of(prepared.shards, size=objective.output_size, marks=marks)
    if isinstance(objective, Causal):
        return evaluate_causal(objective, text, marks=marks, length=length, unigram=words, progress=progress).model_dump(mode="json")
    assert isinstance(objective, Sequence) and prepared.valid_source is not None
    found = evaluate_pairs(objective, prepared.valid_source, text, marks=marks, length=length, unigram=words, progress=progress)
    return found.model_dump(mode="json")


def unit_of(spec: RunSpec) -> str:
    """What is counted: words, or pieces of them."""
    return "words" if spec.subwords is None else "tokens"


def _numbers(outcome: Outcome, unit: str) -> dict[str, Any]:
    speed = round(outcome.tokens_per_second, 1)
    return {"tokens": outcome.tokens, "seconds": round(outcome.seconds, 1), f"{unit}_per_second": speed}


def _next(out: Path, spec: RunSpec, outcome: Outcome) -> list[str]:
    if outcome.stopped != "done":
        return [f"stopped by {outcome.stopped} at step {outcome.step:,}; the same command with --resume goes on from there"]
    if spec.objective.kind == "sequence":
        return [f"malmoi doctor {out}", f"malmoi generate {out} --source 'a text'"]
    speaks = [f"malmoi generate {out} 'a prompt'"] if spec.objective.kind == "causal" else []
    scores = [f"malmoi evaluate {out} --on FILE"] if spec.objective.kind != "skipgram" else []
    return [
        f"malmoi doctor {out}",
        *scores,
        *speaks,
        f"malmoi embed {out} --input FILE --output vectors.npz",
        f"malmoi neighbours {out} 'a text with a *marked* word' --among FILE",
    ]


def dry_run(
    spec: RunSpec,
    *,
    corpus: Many[str | Path],
    valid: Many[str | Path],
    out: Path,
    device: str,
    allow_unknown: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Parameters, memory and time of a run, and nothing left on disk: the text is counted in a temporary directory, and a few steps
    with fewer streams are timed. Time scales with the words of a step."""
    import tempfile

    place = find_device(device)
    with tempfile.TemporaryDirectory(prefix="malmoi-") as folder:
        runs.begin(Path(folder), spec, state="dry run")
        prepared = prepare(spec, corpus=corpus, valid=valid, out=Path(folder), allow_unknown=allow_unknown, progress=progress)
        rows = batches(spec, prepared)
        first = rows.batch(0)
        distinct, places = (len(first.characters), _places(spec, first.characters)) if first.characters is not None else (0, 0)
        held = resident()
        memory = estimate(spec, **prepared.vocabulary.sizes(), distinct=distinct, places=places)
        free = available()
        result: dict[str, Any] = {
            "recipe": spec.name,
            "parameters": memory.parameters,
            "output_parameters": memory.output_parameters,
            "memory_bytes": held + memory.total,
            "memory": {
                "process": held,
                "weights": memory.weights,
                "gradients": memory.gradients,
                "optimizer": memory.optimizer,
                "activations": memory.activations,
            },
            "available_bytes": free,
            "text": summary(prepared),
        }
        if place.type == "cpu" and free is not None and memory.total > free:
            return {
                **result,
                "next": [
                    "this is more memory than the machine has free: take a smaller recipe, or lower model.head.size or stream.streams"
                ],
            }
        progress.stage("timing a few steps")
        speed = _speed(spec, prepared, place)
        steps = total_steps(spec.training, rows)
        words = steps * rows.tokens_per_step * spec.training.accumulate if steps else speed * 60 * (spec.training.minutes or 0)
        result |= {
            f"{unit_of(spec)}_per_second": round(speed, 1),
            unit_of(spec): round(words),
            "epochs": round(words / rows.positions, 3),
            "steps": steps,
        }
        result["seconds"] = round(words / speed)
        return result


def _speed(spec: RunSpec, prepared: Prepared, device: torch.device) -> float:
    """Words a second (of a biLM each read forward and backward) of forward, backward and optimizer steps, measured."""
    small = _smaller(spec)
    objective = build(small, **prepared.vocabulary.sizes()).to(device).train()
    from malmoi.train import Optimizer

    optimizer, rows, carry, times = Optimizer(objective, spec.training), batches(small, prepared), None, []
    for step in range(4):
        began = time.monotonic()
        with autocast(spec.training, device):
            loss = objective.loss(rows.batch(step).to(device), carry)
        loss.total.backward()
        carry = loss.carry
        optimizer.clip(spec.training.clip_norm)
        optimizer.step(1e-6)
        times.append(time.monotonic() - began)
        if step and sum(times) > 60:
            break
    return rows.tokens_per_step / min(times[1:])


def _smaller(spec: RunSpec) -> RunSpec:
    """The spec with no more rows than a trial needs."""
    if isinstance(spec.stream, StreamSpec):
        fewer = max(1, min(spec.stream.streams, WORDS_A_STEP_OF_A_TRIAL // spec.stream.window))
        return spec.model_copy(update={"stream": spec.stream.model_copy(update={"streams": fewer})})
    fewer = max(1, min(spec.stream.rows, 4 * WORDS_A_STEP_OF_A_TRIAL // spec.stream.length))
    return spec.model_copy(update={"stream": spec.stream.model_copy(update={"rows": fewer})})


def _places(spec: RunSpec, characters: torch.Tensor) -> int:
    assert isinstance(spec.model.frontend, CharacterCNNSpec)
    widest = max(wide for wide, _ in spec.model.frontend.filters)
    return convolved_places(characters, pad=int(characters.max()), widest=widest)
