"""One side of a comparison as a process: `python sides.py JOB`, JOB being a `Job` as JSON. `pairing.py` and `learning_runs.py` start them.

The folder `work` holds what `texts.py` prepares: vocab/, shards/, blocks.npy, stream.npy, lines.npz, and the models that malmoi exported.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch
from pairing import Turns, require
from texts import Lines

from malmoi.core.recipe import RowsSpec
from malmoi.core.spec import override
from malmoi.objectives import build
from malmoi.recipes import find
from malmoi.shards import Packed, Shards
from malmoi.train import fit
from malmoi.vocab import Subwords


@dataclass(frozen=True)
class Job:
    """side: malmoi | trainer | electra | nanogpt. recipe, settings: malmoi's spec. model: the directory that theirs start from (in `work`).
    data: blocks | lines. clock: None to take turns; else train for `seconds`, save the model into `out` `snapshots` times, evenly.
    warmup, decay: by the clock, as malmoi's (transformers' default: none, and linear over 3 epochs)."""

    side: str
    work: str
    recipe: str = ""
    settings: tuple[str, ...] = ()
    model: str = ""
    kind: str = "masked"
    data: str = "blocks"
    dropout: float = 0.0
    rows: int = 32
    bf16: bool = False
    learning_rate: float = 5e-5
    tuned: bool = False
    seconds: float | None = None
    snapshots: int = 0
    out: str = ""

    def facts(self) -> dict[str, Any]:
        """For the command line and for results."""
        return {**self.__dict__, "settings": list(self.settings)}


class Stepping:
    """Progress of malmoi's loop as turns: the real loop runs, and waits where it would say how far it is."""

    def __init__(self, begin: Callable[[], None], step: Callable[[int], bool], tokens: int) -> None:
        self.begin, self.step, self.tokens = begin, step, tokens

    def stage(self, name: str, total: float | None = None) -> None:
        self.begin()

    def advance(self, done: float, facts: Mapping[str, float | str] | None = None) -> None:
        self.step(self.tokens)

    def note(self, text: str) -> None:
        """Nothing."""


class Clock:
    """Training by the clock, in place of turns: saving takes no time of it."""

    def __init__(self, job: Job, save: Callable[[Path], None]) -> None:
        assert job.seconds is not None
        self.seconds, self.snapshots, self.out, self.save = job.seconds, max(1, job.snapshots), Path(job.out), save
        self.began, self.steps, self.tokens, self.saved = 0.0, 0, 0, 0

    def begin(self) -> None:
        self.began = time.perf_counter()

    def step(self, tokens: int) -> bool:
        self.steps, self.tokens = self.steps + 1, self.tokens + tokens
        spent = time.perf_counter() - self.began
        if spent >= self.seconds * (self.saved + 1) / self.snapshots:
            self.saved = int(spent / self.seconds * self.snapshots)
            place = self.out / f"at-{self.saved:03d}"
            self.save(place)
            facts = {"seconds": spent, "steps": self.steps, "tokens": self.tokens, "tokens_per_second": self.tokens / spent}
            (place / "facts.json").write_text(json.dumps(facts))
            self.began += time.perf_counter() - self.began - spent
        return spent >= self.seconds

    def factor(self, _: int) -> float:
        """Warm-up over 5% of the time, then linear to 0: the course of malmoi's small recipes."""
        done = (time.perf_counter() - self.began) / self.seconds if self.began else 0.0
        return max(done, 1e-3) / 0.05 if done < 0.05 else max(0.0, (1.0 - done) / 0.95)


def ours(job: Job) -> None:
    """malmoi's own loop (`malmoi.train.fit`) on its own rows."""
    turns = Turns()
    work = Path(job.work)
    spec = override(find(job.recipe), [*job.settings, *still(job.rows), f"training.precision={'bf16' if job.bf16 else 'fp32'}"])
    vocabulary = Subwords.load(work / "vocab")
    assert isinstance(spec.stream, RowsSpec)
    packed = Packed(
        Shards.open(work / "shards", vocabulary),
        marks=vocabulary.marks,
        layout=spec.objective.layout,
        rows=spec.stream.rows,
        length=spec.stream.length,
        seed=spec.seed,
    )
    objective = build(spec, **vocabulary.sizes())
    with tempfile.TemporaryDirectory(prefix="malmoi-side-") as folder:
        fit(
            objective,
            batches=packed,
            spec=spec.training,
            seed=spec.seed,
            directory=Path(folder),
            device=torch.device("cpu"),
            progress=Stepping(turns.wait, turns.done, packed.tokens_per_step),
        )


def still(rows: int) -> list[str]:
    """Settings of a run that only trains: as many rows, the optimizer of transformers' defaults, no end, no validation."""
    budget = [f"training.{name}=null" for name in ("minutes", "tokens", "epochs")]
    optimizer = [f"training.optimizer.{setting}" for setting in ("betas=[0.9,0.999]", "epsilon=1e-8", "weight_decay=0")]
    return [*budget, *optimizer, "training.steps=1000000", "training.validations=0", "training.learning_rate=5e-5", f"stream.rows={rows}"]


def theirs(job: Job) -> None:
    """Trainer, the pair of ELECTRA's heads, or nanoGPT."""
    if job.side != "nanogpt":
        require("transformers", "accelerate")
        import transformers
        import transformers.trainer  # noqa: F401  (what a training script imports)
    turns = Turns() if job.seconds is None else None
    torch.manual_seed(0)
    work = Path(job.work)
    marks = Subwords.load(work / "vocab").marks
    options = peers.Options(rows=job.rows, bf16=job.bf16, learning_rate=job.learning_rate)
    if job.tuned:
        options = replace(options, betas=(0.9, 0.98), epsilon=1e-6)
    place = work / job.model
    if job.side == "nanogpt":
        assert turns is not None
        tokens = np.load(work / "stream.npy", mmap_mode="r")
        model = peers.NanoGPT(vocabulary=int(json.loads((work / "facts.json").read_text())["size"]))
        peers.train_nano(model, tokens, options=options, begin=turns.wait, step=turns.done)
        return
    drop = {"hidden_dropout_prob": job.dropout, "attention_probs_dropout_prob": job.dropout}
    if job.kind == "causal":
        drop = {"resid_pdrop": job.dropout, "embd_pdrop": job.dropout, "attn_pdrop": job.dropout}
    if job.side == "electra":
        generator = transformers.ElectraForMaskedLM.from_pretrained(place / "generator", **drop)
        discriminator = transformers.ElectraForPreTraining.from_pretrained(place / "discriminator", **drop)
        whole: Any = peers.ElectraPair(generator, discriminator)

        def save(out: Path) -> None:
            for name, part in (("generator", generator), ("discriminator", discriminator)):
                keep(part, place / name, out / name)
    else:
        auto = transformers.AutoModelForCausalLM if job.kind == "causal" else transformers.AutoModelForMaskedLM
        whole = auto.from_pretrained(place, **drop)

        def save(out: Path) -> None:
            keep(whole, place, out)

    taker: Any = turns
    begin, step = (turns.wait, turns.done) if turns is not None else (None, None)
    if turns is None:
        taker = Clock(job, save)
        begin, step = taker.begin, taker.step
        options = replace(options, factor=taker.factor if job.tuned else None)
    assert begin is not None and step is not None
    blocks = np.load(work / "blocks.npy", mmap_mode="r")
    if job.side == "electra":
        peers.train_electra(whole, blocks, marks, options=options, begin=begin, step=step)
        return
    examples = peers.Examples(Lines.load(work / "lines.npz") if job.data == "lines" else blocks, marks)
    peers.train_with_trainer(whole, examples, place, kind=job.kind, options=options, begin=begin, step=step)


def keep(model: Any, start: Path, out: Path) -> None:
    """The model as malmoi imports it: beside the tokenizer that it was trained with."""
    model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes((start / name).read_bytes())


def main() -> None:
    """The process."""
    facts = json.loads(sys.argv[1])
    job = Job(**{**facts, "settings": tuple(facts.get("settings", ()))})
    if job.side == "malmoi":
        ours(job)
    else:
        theirs(job)


if __name__ == "__main__":
    main()
