"""A plain PyTorch ELMo, as a competent person writes it today: what malmoi's speed and perplexity are compared with.

    python benchmarks/baseline_elmo.py --corpus /tmp/wiki/en/train.txt --valid /tmp/wiki/en/valid.txt --minutes 20 --tune 16 32 64

Two directions of nn.LSTM with proj_size (never bidirectional), padded batches of shuffled sentences, the character CNN over every token
of the padded batch, torch's cross entropy over all output words, Adam. Sizes, words and ids are those of the recipe.

What favours it: sentences are at most --longest words and only real positions reach the softmax; spellings are trimmed to the longest
word of the batch; one run of the CNN serves both directions; a sentence knows the word before it (and, backward, the one after it), so
end marks stand at the ends of documents only and it is trained for exactly what is scored; the batch size can be the fastest one.
The score is exact and counts what malmoi counts: every word and one end mark a document, whole documents from the zero state.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, corpus, finish, peak_rss, recipe
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.recipe import BackboneSpec, CharacterCNNSpec, RunSpec
from malmoi.corpus import read, word_splitter
from malmoi.vocab import BOS, EOS, UNK, Vocabulary, encode_documents


class Characters(nn.Module):
    """(N, C) character ids -> (N, width): convolutions, max over time, relu or tanh, highway layers, projection."""

    def __init__(self, spec: CharacterCNNSpec, *, width: int, characters: int) -> None:
        super().__init__()
        total = sum(count for _, count in spec.filters)
        self.widest = max(wide for wide, _ in spec.filters)
        self.embedding = nn.Embedding(characters, spec.width)
        self.convolutions = nn.ModuleList(nn.Conv1d(spec.width, count, wide) for wide, count in spec.filters)
        self.activation = torch.relu if spec.activation == "relu" else torch.tanh
        self.transforms = nn.ModuleList(nn.Linear(total, total) for _ in range(spec.highway))
        self.gates = nn.ModuleList(nn.Linear(total, total) for _ in range(spec.highway))
        for gate in self.gates:
            nn.init.constant_(gate.bias, -2.0)
        self.projection = nn.Linear(total, width) if total != width else nn.Identity()

    def forward(self, characters: Tensor) -> Tensor:
        pad = self.embedding.num_embeddings - 1
        longest = int((characters != pad).any(0).nonzero().max()) + 1
        x = self.embedding(characters[:, : longest + self.widest]).transpose(1, 2)
        x = self.activation(torch.cat([convolution(x).max(dim=2).values for convolution in self.convolutions], dim=1))
        for transform, gate in zip(self.transforms, self.gates, strict=True):
            open_ = torch.sigmoid(gate(x))
            x = open_ * torch.relu(transform(x)) + (1 - open_) * x
        return self.projection(x)


class Direction(nn.Module):
    """A stack of LSTMs, each its own nn.LSTM so that residuals can stand between them."""

    def __init__(self, spec: BackboneSpec, *, width: int, dropout: float) -> None:
        super().__init__()
        cell = spec.mixer.cell
        self.layers = nn.ModuleList(nn.LSTM(width, cell, proj_size=width, batch_first=True) for _ in range(spec.depth))
        for layer in self.layers:
            with torch.no_grad():
                layer.bias_ih_l0[cell : 2 * cell] += spec.mixer.forget_bias
        self.dropout = nn.Dropout(dropout)
        self.residual_from = spec.depth if spec.residual_from is None else spec.residual_from

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            x = self.dropout(x)
            y, _ = layer(x)
            x = y + x if index >= self.residual_from else y
        return self.dropout(x)


class Baseline(nn.Module):
    """Characters, two directions, one softmax."""

    def __init__(self, spec: RunSpec, *, words: int, characters: int) -> None:
        super().__init__()
        model = spec.model
        assert isinstance(model.frontend, CharacterCNNSpec) and isinstance(model.backbone, BackboneSpec)
        self.characters = Characters(model.frontend, width=model.width, characters=characters)
        self.directions = nn.ModuleList(Direction(model.backbone, width=model.width, dropout=model.dropout) for _ in range(2))
        self.softmax = nn.Linear(model.width, min(model.head.size, words))

    def forward(self, ids: Tensor, spelt: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """ids (B, L), spelt (B, L, C), lengths (B,) of the real tokens. Yields (vectors (N, width), targets (N,)) of each direction."""
        x = self.characters(spelt.flatten(0, 1)).view(*ids.shape, -1)
        place = torch.arange(ids.shape[1])
        turned = (lengths[:, None] - 1 - place).clamp(min=0)
        backward = x.gather(1, turned[:, :, None].expand_as(x)), ids.gather(1, turned)
        real = place[1:] < lengths[:, None]
        for direction, (vectors, tokens) in zip(self.directions, ((x, ids), backward), strict=True):
            targets = tokens[:, 1:]
            yield direction(vectors[:, :-1])[real], targets.masked_fill(targets >= self.softmax.out_features, UNK)[real]


class Text:
    """Documents as ids with a mark at each end, and the spans of them that are read."""

    def __init__(self, ids: np.ndarray, ends: np.ndarray) -> None:
        starts = np.concatenate([[0], ends[:-1]])
        self.ids = np.insert(ids, np.stack([starts, ends], 1).ravel(), np.tile([BOS, EOS], len(ends)))
        after = ends + 2 * np.arange(1, len(ends) + 1)
        self.documents = np.stack([np.concatenate([[0], after[:-1]]), after], 1)

    def sentences(self, vocabulary: Vocabulary, longest: int) -> np.ndarray:
        """Spans (n, 2): cut after words that end in . ! or ?, and after `longest` words; the end mark stays with the last of them.
        Neighbours share a token: what one predicts last the next one reads first, so all of them together predict each word of a document
        once in each direction."""
        closing = np.array([word.endswith((".", "!", "?", "。")) for word in vocabulary.words])[self.ids]
        spans = []
        for start, stop in self.documents.tolist():
            begin = start
            for place in [*(start + np.flatnonzero(closing[start : stop - 2])).tolist(), stop - 1]:
                while begin < place:
                    end = min(place, begin + longest)
                    spans.append((begin, end + 1))
                    begin = end
        return np.array(spans)

    def batch(self, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ids (B, L), padded with </S>, and lengths (B,)."""
        lengths = spans[:, 1] - spans[:, 0]
        place = spans[:, :1] + np.arange(lengths.max())
        return np.where(place < spans[:, 1:], self.ids[np.minimum(place, len(self.ids) - 1)], EOS), lengths


def tensors(ids: np.ndarray, lengths: np.ndarray, spelling: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What the model reads."""
    spelt = spelling(ids.ravel()).astype(np.int64).reshape(*ids.shape, -1)
    return torch.from_numpy(ids), torch.from_numpy(spelt), torch.from_numpy(lengths)


@torch.no_grad()
def evaluate(model: Baseline, text: Text, spelling: Any, *, tokens: int = 8192) -> dict[str, float]:
    """Exact perplexities over whole documents."""
    model.eval()
    totals, count = [0.0, 0.0], 0
    order = text.documents[np.argsort(text.documents[:, 0] - text.documents[:, 1], kind="stable")]
    while len(order):
        rows = max(1, tokens // int(order[0, 1] - order[0, 0]))
        for direction, (vectors, targets) in enumerate(model(*tensors(*text.batch(order[:rows]), spelling))):
            for some, goals in zip(vectors.split(512), targets.split(512), strict=True):
                totals[direction] += F.cross_entropy(model.softmax(some), goals, reduction="sum").item()
        count, order = count + len(targets), order[rows:]
    forward, backward = (total / count for total in totals)
    perplexities = {"perplexity": (forward + backward) / 2, "forward_perplexity": forward, "backward_perplexity": backward}
    return {"predictions": count, **{name: math.exp(nll) for name, nll in perplexities.items()}}


def train(
    model: Baseline, text: Text, spans: np.ndarray, spelling: Any, *, rows: int, seconds: float, rate: float, seed: int = 0
) -> dict[str, Any]:
    """Adam until the time is over: steps, words predicted (a direction), seconds, the last losses."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    random = np.random.default_rng(seed)
    order, at, steps, words = random.permutation(len(spans)), 0, 0, 0
    losses: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if at >= len(order):
            order, at = random.permutation(len(spans)), 0
        batch = tensors(*text.batch(spans[order[at : at + rows]]), spelling)
        at += rows
        optimizer.zero_grad()
        forward, backward = (F.cross_entropy(model.softmax(vectors), targets) for vectors, targets in model(*batch))
        loss = (forward + backward) / 2
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        steps, words = steps + 1, words + int((batch[2] - 1).sum())
        losses = [*losses[-99:], loss.item()]
    spent = time.monotonic() - began
    return {"steps": steps, "words": words, "seconds": spent, "words_per_second": words / spent, "loss_of_last_100": float(np.mean(losses))}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="elmo-small")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--valid", nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=32, help="sentences a batch")
    parser.add_argument("--tune", type=int, nargs="*", default=[], help="batch sizes to try for --tune-seconds each; the fastest is taken")
    parser.add_argument("--tune-seconds", type=float, default=20.0)
    parser.add_argument("--longest", type=int, default=40, help="words a sentence")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "baseline_elmo.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    spec = recipe(arguments.recipe, arguments.settings)
    vocabulary, shards = corpus(arguments.corpus, spec)
    spelling = vocabulary.spelling
    text = Text(shards.ids(0, shards.tokens), shards.ends)
    spans = text.sentences(vocabulary, arguments.longest)

    def build() -> Baseline:
        torch.manual_seed(arguments.seed)
        return Baseline(spec, words=len(vocabulary), characters=vocabulary.characters.size)

    options = {"text": text, "spans": spans, "spelling": lambda ids: spelling[ids], "rate": arguments.lr, "seed": arguments.seed}
    tried = {rows: train(build(), **options, rows=rows, seconds=arguments.tune_seconds)["words_per_second"] for rows in arguments.tune}
    rows = max(tried, key=tried.__getitem__) if tried else arguments.batch
    model = build()
    training = train(model, **options, rows=rows, seconds=60 * arguments.minutes)
    peak = peak_rss()
    split = word_splitter(spec.text.words)
    held_out = encode_documents((split(document.text) for document in read(arguments.valid, spec.text)), vocabulary)
    score = evaluate(model, Text(held_out.ids, held_out.ends), held_out.spelling)
    facts = {"recipe": spec.name, "settings": arguments.settings, "corpus": arguments.corpus, "words": len(vocabulary), "lr": arguments.lr}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    facts |= {"parameters": parameters, "sentences": len(spans), "batch": rows, "tried": tried, "peak_rss": peak}
    finish("baseline_elmo", {**facts, "training": training, "valid": score}, arguments.out)


if __name__ == "__main__":
    main()
