"""`malmoi probe`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TextIO

import typer

from malmoi.cli.base import Debug, Device, Json, Run, answer, answering, layer_of
from malmoi.cli.progress import progress

EXAMPLE = "malmoi probe runs/small ud-pos --data UD_English-EWT --layer each --out probes/pos"


def probe(
    run: Run,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Such as ud-pos, sst2, korsts, klue-ner, mcl-wic.", show_default=False)],
    data: Annotated[
        str, typer.Option("--data", metavar="DIR", help="The folder, or the file, of the task as it was published.", show_default=False)
    ],
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="mix|top|N|each",
            help="A learned mix, one layer (0 = without context), or each by itself. [default: mix; of trained sentence vectors top]",
            show_default=False,
        ),
    ] = None,
    head: Annotated[
        Literal["linear", "crf", "bilstm-crf", "cosine"],
        typer.Option("--head", help="What is learned; crf and bilstm-crf are for tags. cosine: nothing; for two texts with a number."),
    ] = "linear",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many heads are learned for each layer.")] = 3,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="dropout, mix_decay, learning.epochs, .batch, .learning_rate, .warmup, .weight_decay, .clip_norm, .patience; repeatable.",
        ),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Write the answer, its table and the predictions there.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Use at most N examples of each split.")] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Beside it: the task without a model, and this network with random weights.")
    ] = False,
    cache: Annotated[str | None, typer.Option("--cache", metavar="DIR", help="Where vectors are kept. [default: RUN/features]")] = None,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn a small head on a frozen run, and score it on a task.

    Shows what the vectors hold, layer by layer: the vectors of all texts are computed once and kept, then a head is learned on them, once
    a seed, and the best epoch on dev counts. Scores are means with 95% intervals over seeds.
    """
    from malmoi import api

    chosen: dict[str, Any] = {"layer": layer_of(layer) if layer else None, "head": head, "seeds": seeds, "settings": settings or ()}
    with answering(json), progress() as shown:
        result = api.probe(
            run, task, data=data, out=out, limit=limit, baselines=baselines, cache=cache, device=device, progress=shown, **chosen
        )
    answer(result, json, show_probe)


def show_probe(result: Any, out: TextIO) -> None:
    """What was read, the table, and what is to be known about it."""
    from malmoi.tasks.probe_report import shown

    counts = ", ".join(f"{count:,} {split}" for split, count in result["examples"].items() if count)
    limited = f" (at most {result['limit']:,} of each split: --limit)" if result["limit"] else ""
    out.write(f"{result['task']}: {counts} examples{limited}; {_learned(result)}\n")
    for split, how in result["made"].items():
        out.write(f"{split}: {how}\n")
    out.write("\n" + shown(result) + "\n")
    if "out" in result:
        out.write(f"\nwritten to {result['out']}\n")


def _learned(result: Any) -> str:
    if result["learned"]:
        return f"{result['head']} head, {result['seeds']} seeds"
    drawn = f"; random weights drawn {result['seeds']} times" if any(row["weights"] == "random" for row in result["rows"]) else ""
    return f"cosines of mean vectors, nothing is learned{drawn}"
