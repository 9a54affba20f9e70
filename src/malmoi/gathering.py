"""What `malmoi corpus` does: words are counted, or a corpus is cleaned by a profile and its settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import create_model

from malmoi.core.artifact import write_json
from malmoi.core.errors import MalmoiError, nearest
from malmoi.core.locate import locate
from malmoi.core.progress import Progress
from malmoi.core.recipe import CharacterSpec, SubwordSpec, TextSpec
from malmoi.core.spec import Spec, leaves, parsed, validate
from malmoi.corpus import Document, profiles, read, source_files, word_splitter
from malmoi.corpus.reading.spec import ReadingSpec
from malmoi.corpus.steps.spec import CorpusSpec, DecontaminateSpec, Global, Local, PersonalSpec, QualitySpec

Sources = Sequence[str | Path]
AnyStep = Local | Global
S = TypeVar("S", bound=AnyStep)
KINDS: dict[str, type[AnyStep]] = {kind.model_fields["kind"].default: kind for kind in get_args(AnyStep)}
"""Every step by its kind."""
ENGINES = ("local", "ray")
REFUSED = 0.1
"""Share of the documents from which on it is told at once that they could not be read."""


def _every_part() -> Any:
    """A spec of all that settings may change, each part under the first word of its paths."""
    parts: dict[str, Any] = {"reading": (ReadingSpec, ...), **{kind: (step, ...) for kind, step in KINDS.items()}}
    shares: Any = {name: (CorpusSpec.model_fields[name].annotation, CorpusSpec.model_fields[name]) for name in ("valid", "test")}
    return create_model("Parts", __base__=Spec, **parts, **shares)


_PARTS = _every_part()


def count_corpus(
    sources: Sources,
    *,
    out: Path,
    text: TextSpec,
    subwords: SubwordSpec | None,
    progress: Progress,
) -> dict[str, Any]:
    """Count every word of `sources`, or train a vocabulary of subwords on them, and write `out/vocab` and `out/corpus.json`."""
    from malmoi.vocab import Subwords, Vocabulary, count_words, report

    if out.is_dir() and any(path.name not in ("vocab", "corpus.json") for path in out.iterdir()):
        raise MalmoiError("M004", path=out, what="other files", instead="empty it (what it holds is lost)")
    passed: list[str] = []
    counted = _Count()
    progress.stage("counting words")
    documents = counted.through(read(sources, text, notice=lambda problem: passed.append(str(problem))), progress)
    found: dict[str, Any]
    vocabulary: Vocabulary | Subwords
    if subwords is None:
        vocabulary = Vocabulary.build(count_words(documents, word_splitter(text.words)), CharacterSpec())
        found = report(vocabulary, 100_000).model_dump(mode="json")
    else:
        vocabulary = Subwords.train((each.text for each in documents), subwords)
        pieces = vocabulary.report(each.text for each in read(sources, text)).model_dump(mode="json")
        found = {"tokens": pieces["text"]["tokens"], "subwords": subwords.model_dump(mode="json"), "pieces": pieces.pop("text"), **pieces}
    if not found["tokens"]:
        raise MalmoiError("M013", path=", ".join(map(str, sources)))
    vocabulary.save(out / "vocab")
    found = {"documents": counted.documents, "text": text.model_dump(), **found, "passed_over": passed[:100]}
    write_json(out / "corpus.json", {**found, "sources": [str(source) for source in sources]})
    return {"corpus": str(out), **found}


def refuse_mixed(profile: str | None, *, counting: Mapping[str, Any], cleaning: Mapping[str, Any]) -> None:
    """Raise MalmoiError M009 for arguments that make no sense together. counting, cleaning: those of each job; empty ones are not given."""
    counting, cleaning = ({name: value for name, value in each.items() if value} for each in (counting, cleaning))
    if profile is not None and counting:
        name, value = next(iter(counting.items()))
        next_step = "clean first; then `malmoi corpus DIR/train` without --profile counts the words of what is kept."
        raise MalmoiError("M009", argument=f"--{name}", value=value, problem="with --profile nothing is counted", next=next_step)
    if profile is None and cleaning:
        name, value = next(iter(cleaning.items()))
        given = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        problem = "without --profile nothing is cleaned"
        raise MalmoiError(
            "M009", argument=f"--{name}", value=given, problem=problem, next=f"add --profile {', or '.join(profiles.PROFILES)}."
        )
    engine, address = cleaning.get("engine", ENGINES[0]), cleaning.get("address")
    if engine not in ENGINES:
        problem = "there is no such engine" + nearest(engine, ENGINES)
        raise MalmoiError("M009", argument="--engine", value=engine, problem=problem, next=f"use {' or '.join(ENGINES)}.")
    if address and engine != "ray":
        raise MalmoiError("M009", argument="--address", value=address, problem="only Ray has addresses", next="add --engine ray.")


def clean_corpus(
    sources: Sources,
    *,
    spec: CorpusSpec,
    out: Path,
    workers: int | None,
    engine: Literal["local", "ray"] | None,
    address: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Clean `sources` into `out`; the report, and where its page stands."""
    from malmoi.corpus.cleaning.clean import clean

    for source in map(Path, sources):
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            problem, next_step = f"it lies in the source {source}, and would be read as text", "name a directory outside of the sources."
            raise MalmoiError("M009", argument="--out", value=str(out), problem=problem, next=next_step)
    report = clean(sources, spec=spec, out=out, workers=workers or 1, engine=engine or "local", address=address, progress=progress)
    return {"corpus": str(out), "page": str(out / "report.html"), **report, "next": list(_advice(report, out))}


def _advice(report: Mapping[str, Any], out: Path) -> Iterator[str]:
    """What to do next. Where much could not be read, why, from the first sample of the most frequent reason."""
    read = report["steps"][0]
    reason, (refused, _) = max(read["reasons"].items(), key=lambda item: item[1][0], default=("", (0, 0)))
    if refused > REFUSED * report["documents"]:
        sample = next(sample for sample in read["samples"] if sample["reason"] == reason)
        hint = "; name the right field with --set reading.field=NAME and another --out" if reason == "field" else ""
        yield f"{refused:,} could not be read, such as {sample['id']}: {sample['detail']}{hint}"
    if not report["kept"]:
        yield f"nothing is kept: look at the samples in {out / 'report.html'}, and change the steps with --set, or the profile"
    else:
        yield f"malmoi doctor {out}"
        held = f" --valid {out / 'valid'}" if report["splits"]["valid"][0] else ""
        yield f"malmoi pretrain RECIPE --corpus {out}{held} --out RUN"


def cleaning(
    profile: str,
    *,
    settings: Sequence[str] = (),
    decontaminate: Sources = (),
    good: str | Path | None = None,
    bad: str | Path | None = None,
) -> CorpusSpec:
    """The spec of a cleaning: the profile (a name, or `module:function` of your own), files to guard against or to learn from, settings.

    A setting is `kind.field=value` for every step of that kind, `reading.field=value`, `valid=0.01` or `test=0.01`. A step that
    the profile lacks is added by its setting: personal at the end, the others before the global steps, a global one among these.
    Raises MalmoiError M009 (profile; only one of good and bad), M002 (settings), M010 (files).
    """
    spec = _profile(profile)
    if decontaminate:
        step = _step(spec, DecontaminateSpec)
        files = dict.fromkeys([*step.files, *map(str, source_files(decontaminate))])
        spec = _with(spec, step.model_copy(update={"files": tuple(files)}))
    if (good is None) != (bad is None):
        given, value, lacking = ("--good", good, "--bad") if bad is None else ("--bad", bad, "--good")
        problem, next = "a classifier learns from samples of both kinds", f"give {lacking} FILE too."
        raise MalmoiError("M009", argument=given, value=str(value), problem=problem, next=next)
    if good is not None and bad is not None:
        source_files([good, bad])
        spec = _with(spec, _step(spec, QualitySpec).model_copy(update={"good": str(good), "bad": str(bad)}))
    return _set(spec, settings, shown=f"corpus --profile {profile}")


def settable(spec: CorpusSpec) -> dict[str, Any]:
    """Every field of a profile with its value, by the path that a setting gives it, in the order of the steps."""
    parts: dict[str, Spec] = {"reading": spec.reading, **{step.kind: step for step in spec.steps}}
    fields = {f"{name}.{path}": value for name, part in parts.items() for path, value in leaves(part) if path != "kind"}
    return {**fields, "valid": spec.valid, "test": spec.test}


def _profile(name: str) -> CorpusSpec:
    if ":" not in name:
        return profiles.profile(name)
    spec = locate(name, argument="--profile")()
    if not isinstance(spec, CorpusSpec):
        next = "return a malmoi.corpus.steps.spec.CorpusSpec from it."
        raise MalmoiError("M009", argument="--profile", value=name, problem=f"it returns {type(spec).__name__}", next=next)
    return spec


def _step(spec: CorpusSpec, kind: type[S]) -> S:
    """The step of that kind, with its defaults if the profile has none."""
    return next((step for step in spec.steps if isinstance(step, kind)), kind())


def _with(spec: CorpusSpec, step: AnyStep) -> CorpusSpec:
    """`spec` with `step` in the place of those of its kind, or added where one such belongs."""
    if any(each.kind == step.kind for each in spec.steps):
        return spec.model_copy(update={"steps": tuple(step if each.kind == step.kind else each for each in spec.steps)})
    later = () if isinstance(step, PersonalSpec) else PersonalSpec if isinstance(step, Global) else Global | PersonalSpec
    place = next((place for place, each in enumerate(spec.steps) if isinstance(each, later)), len(spec.steps))
    return spec.model_copy(update={"steps": (*spec.steps[:place], step, *spec.steps[place:])})


def _set(spec: CorpusSpec, settings: Sequence[str], *, shown: str) -> CorpusSpec:
    """`spec` with every `path=value` applied, each validated with all the others."""
    parts: dict[str, Spec] = {"reading": spec.reading, **{kind: each() for kind, each in KINDS.items()}}
    parts |= {step.kind: step for step in spec.steps}
    tree: dict[str, Any] = {name: part.model_dump(mode="json", exclude={"kind"}) for name, part in parts.items()}
    tree.update(valid=spec.valid, test=spec.test)
    touched = dict.fromkeys(_assign(tree, setting, shown) for setting in settings)
    chosen = validate(_PARTS, tree, shown=shown)
    if chosen.valid + chosen.test >= 1:
        problem = f"and test together are {chosen.valid + chosen.test:g}: nothing would be left to train on"
        raise MalmoiError("M002", field="valid", problem=problem, shown=shown)
    for kind in KINDS:
        if kind in touched:
            spec = _with(spec, getattr(chosen, kind))
    return spec.model_copy(update={"reading": chosen.reading, "valid": chosen.valid, "test": chosen.test})


def _assign(tree: dict[str, Any], setting: str, shown: str) -> str:
    """Put one setting into the tree of all parts; returns the part that it changes. Whether it belongs there is for validation to say."""
    path, equals, text = (piece.strip() for piece in setting.partition("="))
    if not equals:
        raise MalmoiError("M002", field=f"--set {setting!r}", problem="is not of the form path=value", shown=shown)
    part, dot, field = path.partition(".")
    fields = tree.get(part)
    if isinstance(fields, dict) != bool(dot) or part not in tree:
        known = [*(f"{name}.{each}" for name, parts in tree.items() if isinstance(parts, dict) for each in parts), "valid", "test"]
        raise MalmoiError("M002", field=path, problem="is not a field" + nearest(path, known), shown=shown)
    target = fields if isinstance(fields, dict) else tree
    target[field or part] = parsed(text)
    return part


class _Count:
    """Counts documents as they pass."""

    def __init__(self) -> None:
        self.documents = 0

    def through(self, documents: Iterable[Document], progress: Progress) -> Iterator[Document]:
        for document in documents:
            self.documents += 1
            if self.documents % 1000 == 0:
                progress.advance(self.documents)
            yield document
