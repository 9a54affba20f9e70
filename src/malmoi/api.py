"""The public functions, one a verb: where the stages meet, in straight lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from malmoi import recipes as _recipes
from malmoi.core.errors import MalmoiError, at_least_one
from malmoi.core.progress import Progress, Silent
from malmoi.core.recipe import SubwordSpec, TextSpec
from malmoi.core.spec import validate

if TYPE_CHECKING:
    from malmoi.readout import Encoder, StaticEncoder, TokenEncoder

Sources = Sequence[str | Path]
Layer = str | int
StateMode = Literal["reset", "warm", "compat"]
IMPORTED = ("allennlp", "transformers")
EXPORTED = ("allennlp", "transformers", "sentence-transformers")


def recipes(name: str | None = None) -> dict[str, Any]:
    """All recipes, or one with its whole spec. Raises MalmoiError M001 for an unknown name."""
    return _recipes.describe(name)


def corpus(
    sources: Sources,
    *,
    out: str | Path,
    document: str | None = None,
    words: str | None = None,
    subwords: str | None = None,
    size: int | None = None,
    profile: str | None = None,
    settings: Sequence[str] = (),
    extractor: str | None = None,
    decontaminate: Sources = (),
    good: str | Path | None = None,
    bad: str | Path | None = None,
    workers: int | None = None,
    engine: Literal["local", "ray"] | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Without `profile`: read `sources`, count every word and write `out/vocab` and `out/corpus.json` with what was found.

    Returns tokens, types, documents, coverage by size, sizes by unknown rate, longest tokens. With `subwords` (wordpiece, bpe, byte_bpe or
    unigram) a vocabulary of `size` pieces is trained and written instead; returns size, unknown share, tokens per word and bytes per
    token, for Korean and English apart. Raises MalmoiError M010 to M019, M002, M004.

    With `profile` (web-ko, web-en, news-ko, plain or module:function): clean, deduplicate, split and write `out/train`, `valid`, `test` and
    `removed`; returns the report (`corpus.report.tally`). settings: "near.bands=20"; decontaminate: texts that must not occur; good, bad:
    samples from which a filter learns; workers: processes; engine: local or ray (at `address`). Raises MalmoiError M002 to M010, M14x.
    """
    from malmoi import gathering

    heard = progress or Silent()
    counting = {"words": words, "subwords": subwords, "size": size}
    cleaning = {"set": settings, "extractor": extractor, "decontaminate": decontaminate, "good": good, "bad": bad}
    gathering.refuse_mixed(profile, counting=counting, cleaning={**cleaning, "workers": workers, "engine": engine, "address": address})
    if profile is None:
        text = validate(TextSpec, {key: value for key, value in (("document", document), ("words", words)) if value is not None})
        chosen = {key: value for key, value in (("algorithm", subwords), ("size", size)) if value is not None}
        pieces = validate(SubwordSpec, chosen) if chosen else None
        return gathering.count_corpus(sources, out=Path(out), text=text, subwords=pieces, progress=heard)
    reading = [f"reading.{key}={value}" for key, value in (("document", document), ("extractor", extractor)) if value is not None]
    spec = gathering.cleaning(profile, settings=[*reading, *settings], decontaminate=decontaminate, good=good, bad=bad)
    return gathering.clean_corpus(sources, spec=spec, out=Path(out), workers=workers, engine=engine, address=address, progress=heard)


def profile(name: str, *, settings: Sequence[str] = ()) -> dict[str, Any]:
    """A profile of `corpus` with its settings: `steps` in order, and `fields`, each by its path in a setting. Raises M009, M002."""
    from malmoi import gathering

    spec = gathering.cleaning(name, settings=settings)
    return {"profile": name, "steps": [step.kind for step in spec.steps], "fields": gathering.settable(spec)}


def explain(id: str, *, out: str | Path) -> dict[str, Any]:
    """The story of one document of a corpus that `corpus(profile=...)` wrote to `out`: where it came from, what each step changed, where
    it ended. Returns `id`, `ended`, `sentences`, `text` (its beginning) and what these say (`corpus.report.explain`). Raises M006, M144."""
    from malmoi.corpus.report.explain import explain as story

    return story(Path(out), id)


def pretrain(
    recipe: str,
    *,
    out: str | Path,
    corpus: Sources = (),
    pairs: Sources = (),
    valid: Sources = (),
    minutes: float | None = None,
    steps: int | None = None,
    tokens: int | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    resume: bool = False,
    allow_unknown: bool = False,
    shard: bool = False,
    deterministic: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a recipe on text: count words, write shards, check for leaks by gradient, train, score the held-out text.

    pairs: two line-aligned files, source and target, in place of `corpus`, for recipes from text to text; `valid` is then two files too.
    Without `valid`, one document (or pair) in a hundred is held out. Returns the facts of the run (`steps`, `tokens`, `seconds`,
    `words_per_second` or, of subwords, `tokens_per_second`, `stopped`, `text`, `valid`). With `dry_run` nothing is kept: parameters,
    memory and time are returned. Under torchrun the processes share the rows of every batch; with `shard` they divide weights, gradients
    and optimizer among them too (FSDP2; else DDP). deterministic: the same bits on a GPU each time. Raises MalmoiError.
    """
    from malmoi import pretraining

    spec = pretraining.resolve(recipe, settings=settings, seed=seed, minutes=minutes, steps=steps, tokens=tokens)
    common = {
        "corpus": pretraining.sources(spec, corpus=corpus, pairs=pairs),
        "valid": valid,
        "out": Path(out),
        "device": device,
        "allow_unknown": allow_unknown,
        "progress": progress or Silent(),
    }
    if dry_run:
        return pretraining.dry_run(spec, **common)  # type: ignore[arg-type]
    return pretraining.train(spec, resume=resume, shard=shard, deterministic=deterministic, **common)  # type: ignore[arg-type]


def load(run: str | Path, *, device: str = "auto") -> Encoder | TokenEncoder | StaticEncoder:
    """The encoder of a run: `malmoi.load(RUN).encode(texts, layer="mix")` -> one float32 array a text.

    A biLM gives a vector a word (`readout.Encoder`, with its states), a Transformer one a token or a word (`readout.TokenEncoder`); of a
    sequence model it is the encoder, of replaced-token detection the detector.
    """
    from malmoi.core.devices import find_device
    from malmoi.run import load_run
    from malmoi.use import encoder_of

    return encoder_of(load_run(run, device=find_device(device)))


def evaluate(
    run: str | Path,
    *,
    on: Sources = (),
    pairs: Sources = (),
    task: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    state: StateMode = "reset",
    batch_tokens: int = 4096,
    document: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Exact scores of a text under a run: perplexity (forward, backward and mean of a biLM; pseudo-perplexity and masked accuracy of a
    masked model), bits per byte, unknown rate, counts. Or the scores of a tuned run on a task.

    on: the text; pairs: for a sequence model, two line-aligned files, source and target. `state`, of a biLM: where each document starts:
    from zero, from the warm state, or ("compat") all documents as one stream. Raises MalmoiError M009, M052, M060.

    data, of what `finetune` wrote: the files of `task` as they were published; None for the task that was learned. out: where predictions
    are written. limit: examples of each split. Returns what `tasks.evaluate.evaluate` says; raises what it raises.
    """
    from malmoi.core.devices import find_device
    from malmoi.run import load_run
    from malmoi.tasks import evaluate as tasks
    from malmoi.use import score

    if task is not None or data is not None:
        if on or pairs or data is None:
            given, next = " ".join(map(str, [*on, *pairs])), "give --task TASK and --data DIR, and neither --on nor --pairs."
            raise MalmoiError("M009", argument="what to score", value=given, problem="a task is scored on its own files", next=next)
        return tasks.evaluate(run, task, data=data, out=out, limit=limit, device=find_device(device), progress=progress)
    tasks.refuse_tuned(run)
    opened = load_run(run, device=find_device(device))
    found = score(opened, on=on, pairs=pairs, state=state, batch_tokens=batch_tokens, document=document, progress=progress)
    return {"run": str(run), **found}


def embed(
    run: str | Path,
    *,
    input: str | Path,
    output: str | Path,
    layer: Layer | None = None,
    pool: str = "none",
    state: StateMode = "reset",
    batch_size: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Write the vectors of every line of `input` to `output` (.npz or .parquet), in the order of the file.

    layer: by default "mix", the mean of all; of a run whose vectors of sentences were trained "top", which they are made of.
    batch_size: lines at once; by default 32 of a biLM, 256 of a Transformer. Only `state` compat, which a biLM has, depends on it.
    """
    from malmoi.core.devices import find_device
    from malmoi.readout import Encoder, write_vectors
    from malmoi.readout.writers import check_output
    from malmoi.run import load_run
    from malmoi.use import encoder_of, usual_layer

    check_output(output)
    opened = load_run(run, device=find_device(device))
    encoder = encoder_of(opened)
    layer = usual_layer(opened) if layer is None else layer
    rows = batch_size if batch_size is not None else 32 if isinstance(encoder, Encoder) else 256
    vectors = encoder.stream(_lines(Path(input)), layer=layer, pool=pool, state=state, batch_size=rows)
    lines = write_vectors(output, vectors, pooled=pool != "none")
    facts = {"run": str(run), "output": str(output), "lines": lines, "width": encoder.width, "layer": layer, "pool": pool}
    return {**facts, "state": state} if isinstance(encoder, Encoder) else facts


def neighbours(
    run: str | Path,
    *,
    texts: Sequence[str],
    among: str | Path,
    count: int = 5,
    layer: Layer = "top",
    same_word: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """For each text with a *marked* word, the words of file `among` whose vectors in context are nearest to it.

    With `same_word` only other occurrences of the word itself compete: where does it mean the same as here?
    """
    from malmoi.readout import neighbours as nearest_in_context

    encoder = load(run, device=device)

    def find(text: str) -> dict[str, Any]:
        found = nearest_in_context(encoder, text, among=_lines(Path(among)), layer=layer, count=count, same=same_word)
        return {"text": text, "neighbours": [_shown(each) for each in found]}

    return {"run": str(run), "queries": [find(text) for text in texts]}


def generate(
    run: str | Path,
    prompt: str = "",
    *,
    source: str | None = None,
    tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    beam: int | None = None,
    seed: int = 0,
    count: int = 1,
    device: str = "auto",
) -> dict[str, Any]:
    """`count` texts: what a causal model writes after `prompt`, drawn with `seed`, or what a sequence model finds for `source`.

    tokens: at most so many are written (100; of a sequence model as many as it reads). temperature, top_k, top_p: see
    `readout.Sampling`; greedy: always the likeliest token; beam: beginnings that a sequence model follows (4).
    Returns run, prompt (source) and texts, prompt included. Raises MalmoiError M009, M052, M060.
    """
    from malmoi.core.devices import find_device
    from malmoi.readout import Sampling
    from malmoi.run import load_run
    from malmoi.use import generate as texts_of

    chosen = greedy or any(value is not None for value in (temperature, top_k, top_p))
    sampling = Sampling(1.0 if temperature is None else temperature, top_k, top_p, greedy) if chosen else None
    opened = load_run(run, device=find_device(device))
    texts = texts_of(opened, prompt, source=source, tokens=tokens, sampling=sampling, beam=beam, seed=seed, count=count)
    facts = {"run": str(run), "prompt": prompt}
    return {**facts, "texts": texts} if source is None else {**facts, "source": source, "texts": texts}


def finetune(
    run: str | Path,
    task: str,
    *,
    data: str | Path,
    out: str | Path,
    seeds: int = 3,
    from_scratch: bool = False,
    limit: int | None = None,
    settings: Sequence[str] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train the whole model of a run on a task, once for each of `seeds` seeds, and write the best model and all predictions to `out`.

    task: a name of `malmoi.tasks.TASKS`. data: its files as they were published. from_scratch: the same architecture with fresh weights, to
    see what pre-training is worth. limit: examples of each split that are used. settings: "learning.epochs=3", a field of
    `tasks.spec.TuneSpec`. `malmoi.tasks.tuned.load(out).predict(examples)` uses the model. With "encoder=bi" or "encoder=simcse" the
    vectors of texts are trained instead, and `out` is a run: `malmoi.load(out).encode(texts, layer="top", pool="mean")`.
    Returns what `tasks.tune.tune` says. Raises MalmoiError M151 to M158, M002, M004, M009, M060.
    """
    from malmoi.core.devices import find_device
    from malmoi.core.spec import override
    from malmoi.run import load_run
    from malmoi.tasks import find_task
    from malmoi.tasks.spec import TuneSpec
    from malmoi.tasks.tune import refuse, refuse_existing, tune

    heard, chosen = progress or Silent(), find_task(task)
    refuse_existing(out)
    at_least_one(seeds=seeds, limit=limit)
    spec = override(TuneSpec(), settings, shown="finetune --help")
    opened = load_run(run, device=find_device(device))
    refuse(opened, chosen, encoder=spec.encoder)
    heard.stage("reading")
    splits = chosen.read(Path(data))
    return tune(
        opened, chosen, splits=splits, out=out, spec=spec, seeds=range(seeds), from_scratch=from_scratch, limit=limit, progress=heard
    )


def probe(
    run: str | Path,
    task: str,
    *,
    data: str | Path,
    layer: Layer | None = None,
    head: str = "linear",
    seeds: int = 3,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    limit: int | None = None,
    baselines: bool = False,
    cache: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What the vectors of a frozen run hold: a head is learned on them for a task, `seeds` times, and scored on dev and test.

    task: a name of docs/tasks.md; data: its folder, or file, as it was published. layer: "mix" (learned weights; the default), "top" (the
    default of a run whose vectors of sentences were trained), a number, or "each" for all of these. head: linear; crf or bilstm-crf for
    tags; cosine of two texts, which learns nothing. settings: "learning.epochs=10" (see `tasks.spec.ProbeSpec`). out: where the answer,
    its table and the predictions are written. limit: examples of each split at most. baselines: what the task gives away without a model,
    and the same network with random weights, beside it. cache: where vectors are kept (RUN/features).
    Returns rows of layers with means and 95% intervals over seeds. Raises MalmoiError M151 to M157, M002, M004, M009, M060.
    """
    from malmoi.core.devices import find_device
    from malmoi.core.spec import override
    from malmoi.run import load_run
    from malmoi.tasks import find_task
    from malmoi.tasks import probe_report as report
    from malmoi.tasks.probe import learns
    from malmoi.tasks.probe import probe as probed
    from malmoi.tasks.spec import ProbeSpec
    from malmoi.use import usual_layer

    chosen, heard = find_task(task), progress or Silent()
    given = [f"head={head}", *([] if layer is None else [f"layer={layer}"]), *settings]
    spec = override(ProbeSpec(), given, shown="probe --help")
    if out is not None:
        report.refuse_foreign(Path(out))
    at_least_one(seeds=seeds, limit=limit)
    opened, splits = load_run(run, device=find_device(device)), chosen.read(Path(data))
    if layer is None:
        spec = override(ProbeSpec(), [f"layer={usual_layer(opened)}", *given])
    kept = Path(cache) if cache is not None else None
    how: dict[str, Any] = {"seeds": range(seeds), "random": baselines, "limit": limit, "cache": kept, "progress": heard}
    found = probed(opened, chosen, splits=splits, spec=spec, **how)
    facts = {"run": str(run), "step": opened.step, "task": task, "data": str(data), "made": dict(splits.made), "limit": limit, "head": head}
    answer = {**facts, "seeds": seeds, "learned": learns(chosen, head), **report.summary(found)}
    if baselines:
        heard.stage("baselines")
        answer["baselines"] = report.beside(found, on=answer["compared_on"])
    if out is not None:
        report.write(Path(out), answer, found)
        answer["out"] = str(out)
    return answer


def doctor(path: str | Path) -> dict[str, Any]:
    """Every check on a run, on shards or on a corpus: `{"ok": bool, "findings": [{"code", "level", "message", "next"}]}`."""
    from malmoi.diagnosis import diagnose

    findings = diagnose(Path(path))
    return {
        "ok": not any(finding.level == "error" for finding in findings),
        "path": str(path),
        "findings": [finding.model_dump() for finding in findings],
    }


def import_(format: str, *, paths: Sequence[str | Path], out: str | Path) -> dict[str, Any]:
    """Make a run of a foreign checkpoint. allennlp: options.json and weights.hdf5; transformers: a directory with safetensors."""
    from malmoi.export.allennlp import import_allennlp
    from malmoi.export.imported import import_transformers

    _known_format(format, IMPORTED)
    wanted = {"allennlp": (2, "give options.json and weights.hdf5."), "transformers": (1, "give the directory.")}[format]
    if len(paths) != wanted[0]:
        problem = f"{len(paths)} paths were given"
        raise MalmoiError("M009", argument=f"import {format}", value=" ".join(map(str, paths)), problem=problem, next=wanted[1])
    if format == "allennlp":
        path = import_allennlp(paths[0], paths[1], out)
        return {"run": str(path), "format": format, "head": False, "next": [f"malmoi embed {path} --input FILE --output vectors.npz"]}
    path, read = import_transformers(paths[0], out)
    next = [f"malmoi evaluate {path} --on SOURCE"] if read.head else []
    return {
        "run": str(path),
        "format": format,
        "objective": read.spec.objective.kind,
        "head": read.head,
        "left_behind": list(read.dropped),
        "notes": list(read.notes),
        "next": [*next, f"malmoi embed {path} --input FILE --output vectors.npz"],
    }


def export(run: str | Path, *, format: str, out: str | Path) -> dict[str, Any]:
    """Write a run in a foreign format. allennlp: options.json and weights.hdf5 (the format has no place for a softmax); transformers: a
    directory that its classes open, with the output layer; sentence-transformers: the encoder, with the mean over its tokens."""
    from malmoi.export.allennlp import kept_options, write_allennlp
    from malmoi.export.imported import parts_of
    from malmoi.export.transformers import write_sentence_transformers, write_transformers
    from malmoi.run import load_run

    _known_format(format, EXPORTED)
    opened = load_run(run)
    if format == "allennlp":
        state = dict(opened.objective.named_parameters())
        notes = write_allennlp(out, spec=opened.spec, state=state, options=kept_options(opened.path))
    else:
        facts, parts = {**opened.manifest, "step": opened.step}, parts_of(opened.spec, opened.objective)
        write = write_sentence_transformers if format == "sentence-transformers" else partial(write_transformers, head=opened.has_head)
        notes = write(out, spec=opened.spec, parts=parts, vocabulary=opened.vocabulary, facts=facts)
    return {"run": str(run), "format": format, "out": str(out), "notes": notes}


def quickstart(out: str | Path | None = None, *, minutes: float = 4, progress: Progress | None = None) -> dict[str, Any]:
    """Train elmo-tiny on the documentation that every Python carries, examine it, and show neighbours in context."""
    from malmoi.tour import tour

    return tour(Path(out) if out is not None else None, minutes=minutes, progress=progress or Silent())


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, empty ones included, checked and normalized as everywhere."""
    from malmoi.corpus import source_files, text_lines

    yield from text_lines(source_files([path]))


def _shown(found: Any) -> dict[str, Any]:
    words = list(found.words)
    words[found.position] = f"*{words[found.position]}*"
    return {
        "score": round(found.similarity, 4),
        "text": " ".join(words),
        "word": found.word,
        "line": found.line,
        "position": found.position,
    }


def _known_format(format: str, known: Sequence[str]) -> None:
    from malmoi.core.errors import nearest

    if format not in known:
        raise MalmoiError(
            "M009",
            argument="the format",
            value=format,
            problem=f"it is not one of these{nearest(format, known)}",
            next=f"use one of: {', '.join(known)}.",
        )
