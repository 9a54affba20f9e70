"""What every verb shares: options, forgiving parsing, and one way to answer."""

from __future__ import annotations

import json as json_module
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Annotated, Any, Literal, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from malmoi.core.errors import MalmoiError, nearest

SOURCES, FILES = "SOURCE...", "FILE..."
"""Metavars of options that take every word up to the next option, so that `--corpus data/*.txt` works unquoted."""

SHOWN = 8
"""Items of a list that are shown; --json has them all."""

SOURCE_HELP = "a file, a folder or a glob of .txt, .jsonl or .parquet, plain or .gz, .xz, .zst"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, everything else on standard error.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The directory of a run.", show_default=False)]
Document = Annotated[
    Literal["paragraph", "line", "file"] | None,
    typer.Option("--document", help="What one document is in a plain .txt file. [default: as the recipe or run says]"),
]
Words = Annotated[
    str | None,
    typer.Option("--words", metavar="NAME", help="How text becomes words: whitespace, punctuation, kiwi (Korean), or module:function."),
]


class Verb(TyperCommand):
    """A verb whose SOURCE... and FILE... options take several words each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write `--corpus a b` as `--corpus a --corpus b`, then parse as usual."""
        greedy = {name for parameter in self.params if getattr(parameter, "metavar", None) in (SOURCES, FILES) for name in parameter.opts}
        return super().parse_args(ctx, list(_spread(args, greedy)))


def _spread(arguments: list[str], greedy: set[str]) -> Iterator[str]:
    option: str | None = None
    values = 0
    for place, argument in enumerate(arguments):
        if argument == "--":
            yield from arguments[place:]
            return
        if argument.startswith("-") and argument != "-":
            option, values = (argument if argument in greedy else None), 0
        elif option is not None:
            values += 1
            if values > 1:
                yield option
        yield argument


class Verbs(TyperGroup):
    """The command itself: an unknown verb names the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As usual, but with our error for a name that is not there."""
        if self.get_command(ctx, args[0]) is None:
            raise MalmoiError("M098", problem=f"there is no verb {args[0]!r}{nearest(args[0], self.list_commands(ctx))}", command="malmoi")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order in which a user meets them, not of the alphabet."""
        return list(self.commands)


def layer_of(text: str) -> str | int:
    """`--layer 1` is a number, `--layer mix` a name."""
    return int(text) if text.lstrip("-").isdigit() else text


@contextmanager
def answering(json: bool) -> Iterator[None]:
    """While work is done, whatever a library prints goes to standard error, so that standard output holds the answer alone."""
    if not json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def answer(result: Any, json: bool, show: Callable[[Any, TextIO], None] | None = None) -> None:
    """Print the result of a verb: as one JSON object, or by `show(result, stdout)`."""
    if json:
        ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        sys.stdout.write(json_module.dumps(plain(result), ensure_ascii=ascii_only, allow_nan=False) + "\n")
    else:
        (show or show_facts)(plain(result), sys.stdout)
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """`value` in JSON's types: specs, dataclasses-like mappings, numpy scalars and paths included; NaN and infinity become null."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return [plain(item) for item in value]


def number(value: Any) -> str:
    """A number as people read it: 12,345 and 5.213; text as it is."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value)


def show_facts(facts: Any, out: TextIO) -> None:
    """`name  value` lines, names padded; nested mappings are indented below their name; what to do `next` comes last."""
    _facts({name: value for name, value in facts.items() if name != "next"}, out, indent="")
    for step in facts.get("next", []):
        out.write(f"next: {step}\n")


def _facts(facts: Mapping[str, Any], out: TextIO, *, indent: str) -> None:
    width = max((len(str(key)) for key, value in facts.items() if not isinstance(value, Mapping)), default=0)
    for key, value in facts.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            out.write(f"{indent}{name}\n")
            _facts(value, out, indent=indent + "  ")
        else:
            out.write(f"{indent}{name:<{width}}  {_shown(value)}\n")


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return number(value)
    items = [": ".join(map(number, item)) if isinstance(item, list) else number(item) for item in value[:SHOWN]]
    return "  ".join([*items, *["..."] * (len(value) > SHOWN)])
