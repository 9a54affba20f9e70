"""A BERT on Korean: what is unknown, how often a gap is filled right, bits a byte.

    python benchmarks/korean_bert.py --corpus ko/train.txt --valid ko/valid.txt --minutes 15

The same as, by hand:

    malmoi pretrain bert-small --corpus ko/train.txt --valid ko/valid.txt --set subwords.algorithm=bpe --minutes 15 --out RUN

All algorithms but WordPiece fall back to bytes, so that no character of any text is unknown. The scores are those of the run itself: each
token masked by itself over the first `training.validation_tokens` of the held-out text.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import RESULTS, finish

COMMAND = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--recipe", default="bert-small")
    parser.add_argument("--algorithm", choices=("bpe", "byte_bpe", "unigram", "wordpiece"), default="bpe")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--run", help="keep the run here")
    parser.add_argument("--out", type=Path, default=RESULTS / "korean_bert.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="malmoi-korean-") as folder:
        run = Path(arguments.run or f"{folder}/run")
        settings = [f"subwords.algorithm={arguments.algorithm}", *arguments.settings]
        line = [*COMMAND, "pretrain", arguments.recipe, "--corpus", arguments.corpus, "--valid", arguments.valid, "--out", str(run)]
        line += ["--minutes", str(arguments.minutes), "--device", "cpu", "--json"]
        line += [part for setting in settings for part in ("--set", setting)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stdout)
        found = json.loads(done.stdout)
        metrics = [json.loads(each) for each in (run / "metrics.jsonl").read_text().splitlines()]
    text, valid = found["text"], found["valid"]
    result = {
        "unknown_of_the_corpus": {part: text[part]["unknown"] for part in ("text", "korean", "english")},
        "tokens_per_word": {part: text[part]["tokens_per_word"] for part in ("text", "korean", "english")},
        "bytes_per_token": {part: text[part]["bytes_per_token"] for part in ("text", "korean", "english")},
        "unknown_rate": valid["unknown_rate"],
        "masked_accuracy": valid["masked_accuracy"],
        "bits_per_byte": valid["bits_per_byte"],
        "pair_accuracy": valid.get("pair_accuracy"),
        "curve": [each for each in metrics if "valid_loss" in each],
    }
    facts = {"recipe": arguments.recipe, "settings": settings, "minutes": arguments.minutes, "threads": arguments.threads}
    kept = {key: value for key, value in found.items() if key not in ("run", "next")}
    finish("korean_bert", {**facts, **result, "run": kept}, arguments.out)


if __name__ == "__main__":
    main()
