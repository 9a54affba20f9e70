"""word2vec-small beside gensim's skip-gram: the same text, the same settings, some seeds each, one thread; word similarity and speed.

    python benchmarks/word2vec.py --corpus en/train.txt --wordsim wordsim353.tsv --men EN-MEN-TR-3k.txt --words 4000000

The text is made once: small letters, runs of letters and digits are words, a paragraph a line; both read that file from disk. Vectors of
100, window 5 (drawn from 1 to 5), 5 drawn words (count ** 0.75), words seen less than 5 times left out, sample 1e-3, 5 epochs, rate 0.025
-> 1e-4. gensim: Word2Vec(sg=1, hs=0, workers=1), which may stand in a folder of its own (--gensim DIR). Seconds are those of the
processor, from the file to the vectors, vocabulary and all; words are those of the text, read `epochs` times. wordsim353.tsv: WordSim-353
(Finkelstein et al. 2002), as gensim carries it in its test data. Spearman is that of the pairs both of whose words have a vector, all in
small letters.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from common import RESULTS, finish

import malmoi
from malmoi.tasks import find_task
from malmoi.tasks.baselines import baselines
from malmoi.tasks.task import Splits

SETTINGS = {"sg": 1, "hs": 0, "negative": 5, "vector_size": 100, "window": 5, "min_count": 5, "sample": 1e-3, "alpha": 0.025}
Vectors = Callable[[str], np.ndarray | None]


def plain(corpus: Path, out: Path, *, words: int | None) -> int:
    """Write the first `words` words of a text, small letters, a paragraph a line; how many there are."""
    count = 0
    with open(corpus, encoding="utf-8") as read, open(out, "w", encoding="utf-8") as written:
        for line in read:
            found = re.findall(r"\w+", line.lower())
            if found:
                written.write(" ".join(found) + "\n")
                count += len(found)
            if words is not None and count >= words:
                break
    return count


def ours(text: Path, work: Path, *, seed: int, epochs: int, settings: Sequence[str]) -> Vectors:
    """malmoi's vectors, by the recipe."""
    torch.set_num_threads(1)
    given = ["text.words=whitespace", "text.document=line", f"training.epochs={epochs}", *settings]
    out = work / f"run-{seed}"
    malmoi.pretrain("word2vec-small", corpus=[text], out=out, settings=given, seed=seed, device="cpu")
    return malmoi.load(out, device="cpu").text  # type: ignore[union-attr]


def theirs(text: Path, *, seed: int, epochs: int) -> Vectors:
    """gensim's."""
    from gensim.models import Word2Vec
    from gensim.models.word2vec import LineSentence

    model = Word2Vec(LineSentence(str(text)), epochs=epochs, min_alpha=1e-4, workers=1, seed=seed, **SETTINGS)
    return lambda word: model.wv[word] if word in model.wv else None


def scores(vectors: Vectors, lists: dict[str, Path]) -> dict[str, float]:
    """Spearman for each list of word pairs, and the share of its pairs that is known."""
    found = {}
    for name, path in lists.items():
        splits = find_task(name).read(path)
        beside = baselines(find_task(name), Splits(test=splits.test), vectors=lambda word: vectors(word.lower()))
        facts = beside["static-cosine"].scores
        found |= {name: round(facts["spearman"], 4), f"{name}_covered": round(facts["covered"], 4)}
    return found


def timed(train: Callable[[], Vectors], lists: dict[str, Path], *, words: int) -> dict[str, float]:
    """Scores and processor time of one training; `words` are read in all."""
    began = time.process_time()
    vectors = train()
    seconds = time.process_time() - began
    return {**scores(vectors, lists), "seconds": round(seconds, 1), "words_per_second": round(words / seconds)}


def summary(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means, and the spread over the seeds."""
    means = {name: round(fmean(run[name] for run in runs), 4) for name in runs[0]}
    spread = {name: round(stdev(run[name] for run in runs), 4) for name in runs[0]} if len(runs) > 1 else {}
    return {"mean": means, "sd": spread, "runs": list(runs)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--wordsim", type=Path, required=True)
    parser.add_argument("--men", type=Path)
    parser.add_argument("--words", type=int)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--gensim", type=Path, help="folder that gensim stands in")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--out", type=Path, default=RESULTS / "word2vec.json")
    given = parser.parse_args()
    if given.gensim:
        sys.path.append(str(given.gensim))
    import gensim

    lists = {"wordsim353": given.wordsim, **({"men": given.men} if given.men else {})}
    with tempfile.TemporaryDirectory(prefix="word2vec-") as folder:
        work, text = Path(folder), Path(folder) / "text.txt"
        words = plain(given.corpus, text, words=given.words)
        total = words * given.epochs
        sides: dict[str, list[dict[str, float]]] = {"malmoi": [], "gensim": []}
        for seed in given.seeds:
            trainings = {
                "malmoi": partial(ours, text, work, seed=seed, epochs=given.epochs, settings=given.settings),
                "gensim": partial(theirs, text, seed=seed, epochs=given.epochs),
            }
            for side, train in trainings.items():
                sides[side].append({"seed": seed, **timed(train, lists, words=total)})
                print(json.dumps({"side": side, **sides[side][-1]}), file=sys.stderr, flush=True)
    found = {side: summary(runs) for side, runs in sides.items()}
    apart = {name: round(found["malmoi"]["mean"][name] - found["gensim"]["mean"][name], 4) for name in lists}
    facts = {"words": words, "epochs": given.epochs, "settings": given.settings, "gensim_version": gensim.__version__}
    finish("word2vec", {**facts, **found, "malmoi_minus_gensim": apart}, given.out)


if __name__ == "__main__":
    main()
