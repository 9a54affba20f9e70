"""What `malmoi pretrain` does, in order: resolve, prepare, build, check for leaks, train, score."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from malmoi import run as runs
from malmoi.core.artifact import write_json
from malmoi.core.devices import find_device
from malmoi.core.errors import MalmoiError
from malmoi.core.progress import Progress
from malmoi.core.recipe import CharacterCNNSpec, RunSpec
from malmoi.core.spec import override
from malmoi.corpus import source_files
from malmoi.evals import Evaluation, evaluate, unigram
from malmoi.nn.frontends import convolved_places
from malmoi.objectives import BiLM, build
from malmoi.objectives.estimate import estimate
from malmoi.prepare import Prepared, first_words, prepare, summary
from malmoi.recipes import find
from malmoi.shards import Streams
from malmoi.testing import check_visibility
from malmoi.train import checkpoint as checkpoints
from malmoi.train import fit, total_steps
from malmoi.train.loop import Outcome, autocast
from malmoi.vocab import EncodedText

WORDS_A_STEP_OF_A_TRIAL = 640


def resolve(
    recipe: str, *, settings: Sequence[str], seed: int | None, minutes: float | None, steps: int | None, tokens: int | None
) -> RunSpec:
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
    return override(find(recipe), changes, recipe=recipe)


def claim(spec: RunSpec, out: Path, *, resume: bool) -> RunSpec:
    """Begin the run directory, or with `resume` go on in it. Returns the spec to train with.

    Raises MalmoiError M004 for a directory that holds something else, M041 for a resume with another spec, M042 for nothing to resume.
    """
    holds = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    begun = (out / "manifest.json").is_file()
    untrained = begun and not checkpoints.steps(out / "checkpoints")
    if resume and begun:
        before, _ = runs.read_spec(out)
        if changed := runs.differences(before, spec):
            raise MalmoiError("M041", path=out, differences="; ".join(changed[:5]))
        runs.begin(out, spec)
        return spec
    # spec.json alone: a start that was killed before it had begun; untrained: one that was refused, its vocabulary say
    if holds == ["spec.json"] or not (holds or resume) or untrained:
        runs.begin(out, spec, state="begun")
        return spec
    if resume:
        raise MalmoiError("M042", path=out)
    what, instead = (
        ("another run", "go on with that run by --resume") if begun else (f"other files ({holds[0]})", "empty it (what it holds is lost)")
    )
    raise MalmoiError("M004", path=out, what=what, instead=instead)


def train(
    spec: RunSpec,
    *,
    corpus: Sequence[str | Path],
    valid: Sequence[str | Path],
    out: Path,
    device: str,
    resume: bool,
    allow_unknown: bool,
    progress: Progress,
) -> dict[str, Any]:
    """A whole run; see `malmoi.pretrain`."""
    place = find_device(device)
    source_files([*corpus, *valid])
    with runs.locked(out):
        spec = claim(spec, out, resume=resume)
        prepared = prepare(spec, corpus=corpus, valid=valid, out=out, allow_unknown=allow_unknown, progress=progress)
        facts = summary(prepared)
        _tell(facts, progress)
        objective = build(spec, words=len(prepared.vocabulary), characters=prepared.vocabulary.characters.size)
        check_visibility(objective)
        objective.to(place)
        going_on = resume and bool(checkpoints.steps(out / "checkpoints"))
        outcome = fit(
            objective,
            batches=streams(spec, prepared),
            spec=spec.training,
            seed=spec.seed,
            directory=out,
            device=place,
            progress=progress,
            validate=_validator(spec, objective, prepared, place) if prepared.valid else None,
            resume=going_on,
        )
        result = {"run": str(out), "stopped": outcome.stopped, "steps": outcome.step, **_numbers(outcome), "text": facts}
        if outcome.stopped == "done" and prepared.valid:
            scored = _score(out, objective, prepared, place, progress)
            result["valid"] = scored.model_dump(mode="json")
        result["next"] = _next(out, outcome)
        runs.record(out, state=outcome.stopped, step=outcome.step, tokens=outcome.tokens, seconds=outcome.seconds)
    return result


def _tell(facts: dict[str, Any], progress: Progress) -> None:
    """What is known of the text before training, in three lines."""
    unknown = (
        f"{facts['unknown_tokens']:.1%} of them ({facts['unknown_types']:.1%} of the types) outside the {facts['size']:,} output words"
    )
    progress.note(f"{facts['tokens']:,} words of {facts['types']:,} types in {facts['documents']:,} documents, {unknown}")
    progress.note("coverage by output words: " + ", ".join(f"{size:,} {share:.1%}" for size, share in facts["coverage"]))
    progress.note("longest words: " + ", ".join(f"{word} ({units})" for word, units in facts["longest"][:4]))


def streams(spec: RunSpec, prepared: Prepared) -> Streams:
    """The batches of a run."""
    spelling = (lambda ids: prepared.vocabulary.spelling[ids]) if spec.model.frontend.kind == "character_cnn" else None
    return Streams(prepared.shards, spelling, spec.stream.streams, spec.stream.window, spec.seed)


def _validator(spec: RunSpec, objective: BiLM, prepared: Prepared, device: torch.device):  # type: ignore[no-untyped-def]
    assert prepared.valid is not None
    sample = first_words(prepared.valid, spec.training.validation_tokens)

    def validate() -> dict[str, float]:
        found = _evaluate(objective, sample, prepared, device)
        assert found.unigram_perplexity is not None
        return {
            "loss": math.log(found.perplexity),
            "perplexity": found.perplexity,
            "forward": math.log(found.forward_perplexity),
            "backward": math.log(found.backward_perplexity),
            "unigram": math.log(found.unigram_perplexity),
        }

    return validate


def _evaluate(
    objective: BiLM, text: EncodedText, prepared: Prepared, device: torch.device, *, progress: Progress | None = None
) -> Evaluation:
    words = unigram(prepared.vocabulary.counts, size=objective.output_size, documents=prepared.shards.documents)
    return evaluate(objective, text, unigram=words, device=device, progress=progress)


def _score(out: Path, objective: BiLM, prepared: Prepared, device: torch.device, progress: Progress) -> Evaluation:
    """The whole held-out text under the weights that the run is used with."""
    assert prepared.valid is not None
    chosen = checkpoints.best(out / "checkpoints")
    if chosen is not None:
        checkpoints.load_module(chosen, objective)
    scored = _evaluate(objective, prepared.valid, prepared, device, progress=progress)
    (out / "evals").mkdir(exist_ok=True)
    write_json(out / "evals" / "valid.json", {"checkpoint": chosen.name if chosen else "last", **scored.model_dump(mode="json")})
    return scored


def _numbers(outcome: Outcome) -> dict[str, Any]:
    return {"tokens": outcome.tokens, "seconds": round(outcome.seconds, 1), "words_per_second": round(outcome.tokens_per_second, 1)}


def _next(out: Path, outcome: Outcome) -> list[str]:
    if outcome.stopped != "done":
        return [f"stopped by {outcome.stopped} at step {outcome.step:,}; the same command with --resume goes on from there"]
    return [
        f"malmoi doctor {out}",
        f"malmoi evaluate {out} --on FILE",
        f"malmoi embed {out} --input FILE --output vectors.npz",
        f"malmoi neighbours {out} 'a text with a *marked* word' --among FILE",
    ]


def dry_run(
    spec: RunSpec,
    *,
    corpus: Sequence[str | Path],
    valid: Sequence[str | Path],
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
        batches = streams(spec, prepared)
        first = batches.batch(0)
        distinct, places = (len(first.characters), _places(spec, first.characters)) if first.characters is not None else (0, 0)
        sizes = {"words": len(prepared.vocabulary), "characters": prepared.vocabulary.characters.size}
        held = _resident()
        memory = estimate(spec, **sizes, distinct=distinct, places=places)
        free = _available()
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
        steps = total_steps(spec.training, batches)
        words = steps * batches.tokens_per_step * spec.training.accumulate if steps else speed * 60 * (spec.training.minutes or 0)
        result |= {
            "words_per_second": round(speed, 1),
            "words": round(words),
            "epochs": round(words / batches.positions, 3),
            "steps": steps,
        }
        result["seconds"] = round(words / speed)
        return result


def _speed(spec: RunSpec, prepared: Prepared, device: torch.device) -> float:
    """Words a second (each read forward and backward) of forward, backward and optimizer steps, measured."""
    fewer = max(1, min(spec.stream.streams, WORDS_A_STEP_OF_A_TRIAL // spec.stream.window))
    small = spec.model_copy(update={"stream": spec.stream.model_copy(update={"streams": fewer})})
    objective = build(small, words=len(prepared.vocabulary), characters=prepared.vocabulary.characters.size).to(device).train()
    from malmoi.train import Optimizer

    optimizer, batches, carry, times = Optimizer(objective, spec.training), streams(small, prepared), None, []
    for step in range(4):
        began = time.monotonic()
        with autocast(spec.training, device):
            loss = objective.loss(batches.batch(step).to(device), carry)
        loss.total.backward()
        carry = loss.carry
        optimizer.clip(spec.training.clip_norm)
        optimizer.step(1e-6)
        times.append(time.monotonic() - began)
        if step and sum(times) > 60:
            break
    return batches.tokens_per_step / min(times[1:])


def _places(spec: RunSpec, characters: torch.Tensor) -> int:
    assert isinstance(spec.model.frontend, CharacterCNNSpec)
    widest = max(wide for wide, _ in spec.model.frontend.filters)
    return convolved_places(characters, pad=int(characters.max()), widest=widest)


def _resident() -> int:
    """Bytes that this process holds now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _available() -> int | None:
    """Bytes of memory that are free on this machine, where it tells."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None
