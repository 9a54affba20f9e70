"""`malmoi finetune`."""

from __future__ import annotations

from typing import Annotated, Any, TextIO

import typer

from malmoi.cli.base import Debug, Device, Json, Run, answer, answering, number
from malmoi.cli.progress import progress

EXAMPLE = "malmoi finetune runs/bert korsts --data KorSTS --out runs/bert-sts --set learning.epochs=5"


def finetune(
    run: Run,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The name of a task, such as klue-ner or sst2.", show_default=False)],
    data: Annotated[
        str,
        typer.Option("--data", metavar="DIR", help="The files of the task as they were published: a folder or a file.", show_default=False),
    ],
    out: Annotated[str, typer.Option("--out", metavar="RUN2", help="Where the model and its predictions go.", show_default=False)],
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="How often it is learned, each time with another seed.")] = 3,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="The same architecture with fresh weights: what is pre-training worth?")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="Use at most so many examples of each split.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change how it is learned, e.g. learning.epochs=3; repeatable."),
    ] = None,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a whole pre-trained model on a task.

    Reads the official files, learns with several seeds, keeps the best epoch of each by the dev set, and answers with the official metric,
    the mean and its 95% interval. RUN2 holds the best model and, in predictions/, what each seed predicts in the form in which it is
    handed in.

    --set encoder=bi or simcse trains the vectors of texts, each read by itself, and RUN2 is a run: embed, probe and export know it. bi
    learns from numbers and labels of two texts, simcse from inference, or from plain text (TASK simcse, --data any text).

    --set knows: encoder (cross, bi, simcse), model_dropout (inside the model; of simcse 0.1), keep (best or last epoch; of the task simcse
    last, else best by dev), length, dropout, lm_weight (of the language model: 0.5 for causal runs, else 0), layer_decay (rate of a layer
    as a share of that of the one above), unfreeze (one layer more each epoch), stride and null_threshold (questions), learning.epochs,
    learning.batch, learning.learning_rate (3e-4 suits the small recipes; a model of BERT-base's size wants 3e-5), learning.warmup,
    learning.weight_decay, learning.clip_norm, learning.patience.
    """
    from malmoi import api

    with answering(json), progress() as shown:
        result = api.finetune(
            run,
            task,
            data=data,
            out=out,
            seeds=seeds,
            from_scratch=from_scratch,
            limit=limit,
            settings=settings or (),
            device=device,
            progress=shown,
        )
    answer(result, json, show)


def show(result: Any, out: TextIO) -> None:
    """A table with a line a seed and their mean; below it what was cut, what was made up, and where things are."""
    from malmoi.tasks.table import table

    splits, main = list(result["mean"]), result["metric"]
    rows = [
        [f"seed {each['seed']}", *(f"{each[split][main]:.4f}" for split in splits), each["epoch"], f"{each['seconds']:.0f}"]
        for each in result["seeds"]
    ]
    means = [result["mean"][split] for split in splits]
    rows.append(["mean", *(f"{each['mean']:.4f}" for each in means), "", ""])
    if len(result["seeds"]) > 1:
        rows.append(["95% +-", *(f"{each['half']:.4f}" for each in means), "", ""])
    begun = "fresh weights" if result["from_scratch"] else result["base"]
    out.write(f"{result['task']}, {main}, from {begun}\n")
    out.write(table(["", *splits, "best epoch", "seconds"], rows) + "\n")
    for split, how in result["made"].items():
        out.write(f"{split}: {how}\n")
    for split, cuts in result["inputs"].items():
        if cuts["cut"] or cuts["missed"]:
            missed = f"; {number(cuts['missed'])} answers stand in no window whole" if cuts["missed"] else ""
            lost = f"{number(cuts['cut'])} of {number(cuts['examples'])} examples were too long and lost {number(cuts['pieces'])} pieces"
            out.write(f"{split}: {lost}{missed}\n")
    if "views" in result:
        out.write(f"two views of a text have a cosine of {result['views']:.4f} before training\n")
    out.write(f"model of seed {result['kept']}: {result['run']}\n")
    if result["predictions"]:
        out.write(f"predictions: {result['run']}/predictions\n")
