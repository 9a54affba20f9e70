"""`malmoi generate`."""

from __future__ import annotations

from typing import Annotated, Any, TextIO

import typer

from malmoi.cli.base import Debug, Device, Json, Run, answer, answering

EXAMPLE = "malmoi generate runs/gpt 'Once upon a time' --tokens 40 --temperature 0.8 --top-p 0.9 --seed 1"


def generate(
    run: Run,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the text begins with.", show_default=False)] = "",
    source: Annotated[
        str | None, typer.Option("--source", metavar="TEXT", help="For a sequence model: what to make a text of.", show_default=False)
    ] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="Write at most so many tokens. [default: 100]")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Below 1 the likelier tokens become likelier still. [default: 1]")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Draw from the K likeliest tokens only.")] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw from the fewest tokens that have this share of the probability.")
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always take the likeliest token.")] = False,
    beam: Annotated[
        int | None, typer.Option("--beam", min=1, metavar="K", help="Of a sequence model: beginnings that are followed. [default: 4]")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides what is drawn.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="Texts that are written.")] = 1,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write text.

    A causal model (gpt1, gpt2) goes on with the prompt, a sequence model (transformer) makes a text of --source. A text ends where the
    model ends it. A prompt or a text that is longer than the model reads at once moves through a window.
    """
    from malmoi import api

    chosen: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy, "beam": beam}
    with answering(json):
        result = api.generate(run, prompt, source=source, tokens=tokens, seed=seed, count=count, device=device, **chosen)
    answer(result, json, show_texts)


def show_texts(result: Any, out: TextIO) -> None:
    """The texts, a line of dashes between two."""
    out.write("\n---\n".join(result["texts"]) + "\n")
