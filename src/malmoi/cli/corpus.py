"""`malmoi corpus`."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any, Literal, TextIO

import typer

from malmoi.cli.base import FILES, SOURCE_HELP, Debug, Document, Json, Words, answer, answering, show_facts
from malmoi.cli.failures import FAILED
from malmoi.cli.progress import progress
from malmoi.core.errors import MalmoiError

EXAMPLE = "malmoi corpus texts/ --out runs/corpus --profile web-ko"
REASONS = 8
"""Reasons that the answer names; the page has them all."""


def corpus(
    sources: Annotated[list[str] | None, typer.Argument(metavar="SOURCE...", help=f"Each {SOURCE_HELP}.", show_default=False)] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Where the corpus is written.", show_default=False)] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="Clean: web-ko, web-en, news-ko, plain, or module:function. Alone: show its steps."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the profile, e.g. near.bands=20 or valid=0.01; repeatable."),
    ] = None,
    document: Document = None,
    extractor: Annotated[
        Literal["fast", "precise"] | None, typer.Option("--extractor", help="How HTML becomes text; precise is about five times slower.")
    ] = None,
    decontaminate: Annotated[
        list[str] | None, typer.Option("--decontaminate", metavar=FILES, help="Evaluation sets: documents that hold their text go.")
    ] = None,
    good: Annotated[str | None, typer.Option("--good", metavar="FILE", help="Samples to keep, from which a filter learns.")] = None,
    bad: Annotated[str | None, typer.Option("--bad", metavar="FILE", help="Samples to remove, from which it learns.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, metavar="N", help="Processes that clean. [default: 1]")] = None,
    engine: Annotated[Literal["local", "ray"] | None, typer.Option("--engine", help="Where to clean. [default: local]")] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="HOST:PORT", help="Of a Ray cluster.")] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="ID", help="Tell what became of one document of the cleaned corpus in --out.")
    ] = None,
    words: Words = None,
    subwords: Annotated[
        Literal["wordpiece", "bpe", "byte_bpe", "unigram"] | None,
        typer.Option("--subwords", help="Train a vocabulary of subwords instead, and report on it.", show_default=False),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=1, metavar="N", help="Pieces of that vocabulary, marks included. [default: 30000]")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Clean text with --profile, or count its words.

    Cleaning repairs, filters, deduplicates, masks personal data and splits; what goes stands in removed/ with its reason, and
    report.html shows it all. It also reads .html, .warc, .zip and .tar; the same command goes on where it stopped. Counting gives tokens,
    types, the unknown rate by vocabulary size, and the longest tokens; with --subwords the share of unknown pieces, pieces per word and
    bytes per piece, for Korean and English apart.
    """
    from malmoi import api

    cleaning = {"set": settings, "document": document, "extractor": extractor, "decontaminate": decontaminate, "good": good, "bad": bad}
    others = {"profile": profile, "workers": workers, "engine": engine, "address": address, "words": words, "subwords": subwords}
    if explain is not None:
        _alone("--explain ID goes with --out DIR", sources, {**cleaning, **others, "size": size})
        with answering(json):
            story = api.explain(explain, out=_needed(out, "'--out'"))
        return answer(story, json, show_story)
    if profile is not None and not sources and out is None:
        _alone("a profile is shown with --set", sources, {**cleaning, **others, "size": size, "set": None, "profile": None})
        return answer(api.profile(profile, settings=settings or ()), json, show_profile)
    with answering(json), progress() as shown:
        report = api.corpus(
            _needed(sources, "'SOURCE...'"),
            out=_needed(out, "'--out'"),
            document=document,
            words=words,
            subwords=subwords,
            size=size,
            profile=profile,
            settings=settings or (),
            extractor=extractor,
            decontaminate=decontaminate or (),
            good=good,
            bad=bad,
            workers=workers,
            engine=engine,
            address=address,
            progress=shown,
        )
    answer(report, json, show_facts if profile is None else show_funnel)
    if profile is not None and not report["kept"]:
        raise typer.Exit(FAILED)


def _needed(value: Any, name: str) -> Any:
    if not value:
        raise MalmoiError("M098", problem=f"{name} is missing", command="malmoi corpus")
    return value


def _alone(sentence: str, sources: list[str] | None, options: dict[str, Any]) -> None:
    """Refuse sources and options that have no meaning there."""
    given = ["SOURCE"] * bool(sources) + [f"--{name}" for name, value in options.items() if value]
    if given:
        raise MalmoiError("M098", problem=f"{sentence} alone, without {', '.join(given)}", command="malmoi corpus")


def show_funnel(report: dict[str, Any], out: TextIO) -> None:
    """What each step kept, the most frequent reasons, and where the page is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from malmoi.corpus.report.page import top_reasons, totals
    from malmoi.corpus.report.plots import percent, short

    (documents, characters, _), (kept, kept_characters, _) = totals(report)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(("step", "documents", "", "removed", "changed", "characters", "")):
        table.add_column(name, justify="right" if place else "left")
    for step in report["steps"]:
        (before, _, _), (after, left, _) = step["in"], step["out"]
        shares = [Text(percent(part / max(whole, 1)), "dim") for part, whole in ((after, documents), (left, characters))]
        went, changed = (Text(f"{count:,}" if count else "-", style) for count, style in ((before - after, "red"), (step["changed"], "")))
        table.add_row(step["name"], f"{after:,}", shares[0], went, changed, short(left), shares[1])
    console = Console(file=out, soft_wrap=True, highlight=False)
    console.print(table)
    for step, reason, count, _ in top_reasons(report)[:REASONS]:
        console.print(Text.assemble(f"  {count:>9,}  ", f"{step}: {reason.replace('_', ' ')}"))
    splits = ", ".join(f"{name} {counted[0]:,}" for name, counted in report["splits"].items())
    console.print(f"kept {kept:,} of {documents:,} documents ({percent(kept / max(documents, 1))}): {splits}", markup=False)
    console.print(f"look at {report['page']}", markup=False)
    for step in report["next"]:
        console.print(f"next: {step}", markup=False)


def show_story(story: dict[str, Any], out: TextIO) -> None:
    """The sentences, and the beginning of the text."""
    out.write(story["id"] + "\n")
    out.writelines(f"  {sentence}\n" for sentence in story["sentences"])
    shown = story["text"].strip()
    more = "…" if story["characters"] > len(story["text"]) else ""
    out.write("\n" + "\n".join(f"    {line}" for line in (shown + more).splitlines()) + "\n" if shown else "")


def show_profile(found: dict[str, Any], out: TextIO) -> None:
    """The steps in order, and every field as a setting takes it."""
    out.write(f"steps: {', '.join(found['steps'])}\n")
    for path, value in found["fields"].items():
        out.write(f"{path}={json_module.dumps(value, ensure_ascii=False)}\n")
