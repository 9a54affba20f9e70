"""What cleaning is worth: the same recipe and budget on raw and on cleaned text, scored on the same clean held-out text.

    malmoi corpus wiki/* --out c-wiki --profile web-ko                # and so on, for each source
    python benchmarks/cleaning_effect.py --pair c-wiki 'wiki/*' --pair c-reviews reviews.jsonl --tokens 300000

Held out: the first documents of `valid` of every cleaned corpus. The raw side reads all that the sources hold, as they were read for the
cleaning, but the documents that went into `valid` and `test`. Near duplicates of held-out documents stay in the raw text, which favours it.
Each side has its own vocabulary, as a user's would.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from common import RESULTS, finish

from malmoi.corpus.files.charset import decode
from malmoi.corpus.reading.intake import Raw, plan, records
from malmoi.corpus.steps.spec import CorpusSpec

COMMAND = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(id, text) of one split of a cleaned corpus."""
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=["id", "text"]):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def raw_texts(cleaned: Path, sources: list[str]) -> Iterator[str]:
    """What the sources of a cleaned corpus hold, without its held-out documents. What has no charset is decoded as it can be."""
    reading = CorpusSpec.model_validate(json.loads((cleaned / "report.json").read_text())["spec"]).reading
    held = {id for split in ("valid", "test") for id, _ in texts(cleaned / split)}
    for shard in plan(sources, reading):
        for record in records(shard, reading):
            if isinstance(record, Raw) and record.id not in held:
                found = decode(record.data or b"", declared=record.charset, html=True) if record.text is None else None
                yield record.text if record.text is not None else found.text if found else ""


def write(path: Path, documents: Iterator[str]) -> int:
    """JSON lines; how many."""
    count = 0
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        for text in documents:
            if text.strip():
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                count += 1
    return count


def trained(corpus: Path, held: Path, run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """`malmoi pretrain`, and `malmoi evaluate` on the held-out text."""
    given = [part for setting in arguments.settings for part in ("--set", setting)]
    budget = ["--tokens", str(arguments.tokens), "--seed", str(arguments.seed), "--allow-unknown"]
    line = [
        *COMMAND,
        "pretrain",
        arguments.recipe,
        "--corpus",
        str(corpus),
        "--valid",
        str(held),
        "--out",
        str(run),
        *budget,
        *given,
        "--json",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    told = json.loads(subprocess.run(line, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    keys = ("perplexity", "bits_per_byte", "unknown_rate", "tokens", "forward_perplexity", "backward_perplexity")
    return {"tokens": told["tokens"], "seconds": told["seconds"], "types": told["text"]["types"]} | {
        f"valid_{key}": told["valid"][key] for key in keys
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs="+", action="append", required=True, metavar=("CLEANED", "SOURCE"))
    parser.add_argument("--recipe", default="elmo-small")
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--held", type=int, default=100, help="documents of each cleaned corpus")
    parser.add_argument("--set", dest="settings", action="append", default=["text.words=punctuation"], metavar="PATH=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "cleaning_effect.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="malmoi-effect-") as folder:
        work = Path(folder)
        pairs = [(Path(cleaned), sources) for cleaned, *sources in arguments.pair]
        held = [text for cleaned, _ in pairs for _, (_, text) in zip(range(arguments.held), texts(cleaned / "valid"), strict=False)]
        write(work / "held.jsonl", iter(held))
        sides = {
            "raw": (text for cleaned, sources in pairs for text in raw_texts(cleaned, sources)),
            "cleaned": (text for cleaned, _ in pairs for _, text in texts(cleaned / "train")),
        }
        found: dict[str, Any] = {}
        for side, documents in sides.items():
            count = write(work / f"{side}.jsonl", documents)
            found[side] = {"documents": count, **trained(work / f"{side}.jsonl", work / "held.jsonl", work / side, arguments)}
            print(side, json.dumps(found[side]), flush=True)
    facts = {"recipe": arguments.recipe, "tokens": arguments.tokens, "seed": arguments.seed, "settings": arguments.settings}
    finish("cleaning_effect", {**facts, "held_out_documents": len(held), **found}, arguments.out)


if __name__ == "__main__":
    main()
