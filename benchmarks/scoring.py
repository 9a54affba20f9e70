"""One score for both sides: the same held-out rows under the same masks, by malmoi's evaluator, transformers' models imported into it.

Masked models: mean nats and accuracy in the gaps that read the mask. Two formats, for each side is trained on one of them: rows (pieces
of documents, positions from 0 in each, no attention between them) and blocks (a stream cut every 128 tokens, as run_mlm.py trains).
ELECTRA: the generator's gaps, and what the discriminator tells of each token. Causal models: exact perplexity and bits a byte of whole
documents, and nats in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peers import LENGTH, blocks
from texts import documents

from malmoi.core.batch import Batch
from malmoi.evals import evaluate_causal
from malmoi.evals.perplexity import evaluating
from malmoi.export.foreign import read_transformers
from malmoi.export.imported import objective_with, shapes_of
from malmoi.objectives import Causal, Objective, Replaced
from malmoi.objectives.corruption import masked
from malmoi.prepare import first_words
from malmoi.run import load_run
from malmoi.shards import Packed, Shards
from malmoi.vocab import EncodedText, Subwords, encode_documents

ROWS = 32


@dataclass(frozen=True)
class Sample:
    """Held-out text: its first whole documents."""

    text: EncodedText
    vocabulary: Subwords

    @classmethod
    def of(cls, source: Path, vocabulary: Subwords, *, tokens: int) -> Sample:
        """At least `tokens` tokens of a file, or all of it."""
        return cls(first_words(encode_documents(documents(source), vocabulary), tokens), vocabulary)

    def score_run(self, run: Path) -> dict[str, float]:
        """Of a run of malmoi, by the checkpoint that it is used with."""
        opened = load_run(run)
        assert isinstance(opened.vocabulary, Subwords) and opened.vocabulary.fingerprint == self.vocabulary.fingerprint
        return self.score(opened.objective)  # type: ignore[arg-type]

    def score_directory(self, place: Path) -> dict[str, float]:
        """Of a model that transformers saved."""
        return self.score(objective_with(read_transformers(place, shapes=shapes_of)))

    def score(self, objective: Objective) -> dict[str, float]:
        """masked, masked_accuracy, masked_in_blocks, ...; or perplexity, bits_per_byte, accuracy, nats_in_blocks."""
        with evaluating(objective), torch.no_grad():
            if isinstance(objective, Causal):
                return self._causal(objective)
            found = self._gaps(objective, self._rows())
            in_blocks = self._gaps(objective, self._blocks())
        return {**found, "masked_in_blocks": in_blocks["masked"], "masked_accuracy_in_blocks": in_blocks["masked_accuracy"]}

    def _causal(self, objective: Causal) -> dict[str, float]:
        found = evaluate_causal(objective, self.text, marks=self.vocabulary.marks, length=LENGTH)
        nats, count = 0.0, 0
        for batch in self._blocks():
            nats += float(objective.score(batch).nll.double().sum())
            count += int((batch.targets["next"] >= 0).sum())
        exact = {"perplexity": found.perplexity, "bits_per_byte": found.bits_per_byte, "accuracy": found.accuracy, "scored": found.scored}
        return {**exact, "nats_in_blocks": nats / count}

    def _gaps(self, objective: Any, batches: Iterator[Batch]) -> dict[str, float]:
        detector = isinstance(objective, Replaced)
        shares = {"mask": 0.85, "random": 0.0} if detector else {"mask": 0.8, "random": 0.1}
        nats, right, count = 0.0, 0, 0
        tasks: dict[str, list[int]] = {}
        for batch in batches:
            view = masked(batch, self.vocabulary.marks, size=len(self.vocabulary), rate=0.15, **shares)
            score = objective.score(view)
            asked = (view.targets["masked"] >= 0) & (view.ids == self.vocabulary.marks.mask)
            nats += float(score.nll[asked].double().sum())
            right += int(score.hit[asked].sum())
            count += int(asked.sum())
            for name, (good, of) in score.counts.items():
                before = tasks.setdefault(name, [0, 0])
                tasks[name] = [before[0] + good, before[1] + of]
        told = {"replaced_accuracy" if name == "replaced" else name: good / max(of, 1) for name, (good, of) in tasks.items()}
        return {"masked": nats / count, "masked_accuracy": right / count, "scored": count, **told}

    def _shards(self) -> Shards:
        return Shards.of(self.text.ids, self.text.ends)

    def _rows(self) -> Iterator[Batch]:
        packed = Packed(self._shards(), marks=self.vocabulary.marks, layout="single", rows=ROWS, length=LENGTH, seed=0)
        for number in range(max(1, packed.positions // packed.tokens_per_step)):
            yield replace(packed.batch(number), types=None)

    def _blocks(self) -> Iterator[Batch]:
        ids_NT = torch.from_numpy(blocks(self._shards(), self.vocabulary.marks))
        keys_N = torch.arange(1, len(ids_NT) + 1)
        for ids, keys in zip(ids_NT.split(ROWS), keys_N.split(ROWS), strict=True):
            following = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -1)], dim=1)
            positions = torch.arange(LENGTH).expand_as(ids)
            yield Batch(ids=ids, segments=torch.ones_like(ids), positions=positions, targets={"next": following}, keys=keys)
