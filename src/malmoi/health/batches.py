"""Batches to examine a model with: random ones that fit it, and parts of batches.

R rows, T positions, S positions of a source, W distinct words, C characters a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.health.bench import device_of
from malmoi.nn import CharacterCNN, Model, SoftOneHot
from malmoi.objectives import BiLM, Objective
from malmoi.objectives import Sequence as Translation

SEED = 20180215  # the day of the ELMo paper
SHORT, LONG = 5, 16
"""Positions of a small batch: of streams; of rows, which have to hold several documents."""
AROUND = 6
"""Positions of a document of a random row, about: no model knows fewer than 8."""
LEAST = {"causal": 2, "single": 3, "pair": 5, "source": 2}
"""Positions of the shortest document, its marks included."""


def usual_length(objective: Objective) -> int:
    """Positions of the rows in which an objective is examined."""
    return SHORT if isinstance(objective, BiLM) else LONG


def random_batch(objective: Objective, *, rows: int, length: int) -> Batch:
    """A batch of random words that fits the objective: sizes are read from its modules.

    A biLM gets (2 x rows, length), one document; all others (rows, length) with several documents a row, with their marks, types,
    labels and keys, as they lie in the corpus: `objective.view` has still to make gaps. A sequence model gets a source, and rows that
    end before `length`. The table of characters holds every word that the checks may put in, so that a changed word changes no shape.
    """
    generator = torch.Generator().manual_seed(SEED)
    batch = _streams(objective, rows, length, generator) if isinstance(objective, BiLM) else _rows(objective, rows, length, generator)
    return batch.to(device_of(objective))


def _streams(objective: BiLM, rows: int, length: int, generator: torch.Generator) -> Batch:
    shape = (2 * rows, length)
    count = min(objective.output_size, 2 * rows * length + 1)
    distinct = torch.randperm(objective.output_size, generator=generator)[:count]
    words = torch.randint(count, shape, generator=generator)
    target = distinct[torch.randint(count, shape, generator=generator)]
    return Batch(
        ids=distinct[words],
        segments=torch.ones(shape, dtype=torch.int64),
        positions=torch.arange(length).expand(shape).contiguous(),
        targets={"next": target},
        words=words,
        characters=_random_characters(objective.forward_model, count, generator),
    )


def _rows(objective: Objective, rows: int, length: int, generator: torch.Generator) -> Batch:
    marks = marks_of(objective)
    translates = isinstance(objective, Translation)
    form = "causal" if objective.target == "next" else "pair" if "pair" in objective.model.heads else "single"
    count = min(length // LEAST[form], max(2, -(-length // AROUND)))
    assert count, f"rows of {length} positions hold no document with its marks"
    ends = [length - row % 3 if translates else length for row in range(rows)]
    batch = _filled(form, [_sizes(end, count, LEAST[form], generator) for end in ends], length, objective.output_size, marks, generator)
    batch = replace(batch, keys=torch.randint(1 << 62, (rows,), generator=generator))
    if translates:
        wide = length + 3
        sizes = [_sizes(wide - (row + 1) % 3, count, LEAST["source"], generator) for row in range(rows)]
        batch = replace(batch, source=_filled("source", sizes, wide, objective.output_size, marks, generator))
    return _dressed(objective.model, batch, generator)


def marks_of(objective: Objective) -> Marks:
    """The marks of an objective's vocabulary; objectives that keep none know their unknown token, which stands for all of them."""
    known = getattr(objective, "marks", None)
    unknown = getattr(objective, "unknown", 0)
    return known if isinstance(known, Marks) else Marks(pad=unknown, unknown=unknown, begin=unknown, end=unknown)


def _sizes(length: int, count: int, least: int, generator: torch.Generator) -> list[int]:
    """Lengths of `count` documents that fill `length` positions, nearly even."""
    sizes = [length * (index + 1) // count - length * index // count for index in range(count)]
    one, two = torch.randint(count, (2,), generator=generator).tolist()
    if sizes[one] > least:
        sizes[one], sizes[two] = (sizes[one] - 1, sizes[two] + 1) if one != two else (sizes[one], sizes[two])
    return sizes


def _filled(form: str, sizes: list[list[int]], length: int, words: int, marks: Marks, generator: torch.Generator) -> Batch:
    """Rows of documents of the given sizes; see `shards.pieces` for what stands where."""
    ordinary = torch.tensor([id for id in range(words) if id not in marks.ids])
    shape = (len(sizes), length)
    ids = torch.full(shape, marks.pad)
    segments, positions, types = (torch.zeros(shape, dtype=torch.int64) for _ in range(3))
    following, labels = torch.full(shape, -1), torch.full(shape, -1)
    for row, parts in enumerate(sizes):
        start = 0
        for number, size in enumerate(parts, start=1):
            here = slice(start, start + size)
            text = ordinary[torch.randint(len(ordinary), (size,), generator=generator)]
            following[row, here] = torch.cat([text[1:], torch.tensor([marks.end])])
            if form != "source":
                text[0] = marks.begin
            if form != "causal":
                text[-1] = marks.end
            if form == "pair":
                middle = int(torch.randint(2, size - 2, (1,), generator=generator))
                text[middle] = marks.end
                types[row, start + middle + 1 : start + size] = 1
                labels[row, start] = torch.randint(2, (1,), generator=generator)
            ids[row, here], segments[row, here], positions[row, here] = text, number, torch.arange(size)
            start += size
    targets = {"causal": {"next": following}, "pair": {"pair": labels}}.get(form, {})
    return Batch(ids=ids, segments=segments, positions=positions, targets=targets, types=types if form == "pair" else None)


def _dressed(model: Model, batch: Batch, generator: torch.Generator) -> Batch:
    """With what the front-end reads beside ids, and a prefix where attention has one: nothing inside of it is predicted."""
    if isinstance(model.frontend, CharacterCNN):
        distinct, words = batch.ids.unique(return_inverse=True)
        batch = replace(batch, words=words, characters=_random_characters(model, len(distinct), generator))
    if isinstance(model.frontend, SoftOneHot):
        batch = replace(batch, values=20.0 * torch.randn(batch.ids.shape, generator=generator))
    if getattr(model.backbone, "sees", None) == "prefix":
        prefix = batch.positions < 2
        batch = replace(batch, prefix=prefix, targets={"next": batch.targets["next"].masked_fill(batch.positions < 1, -1)})
    return batch


def _random_characters(model: Model, count: int, generator: torch.Generator) -> Tensor:
    frontend = model.frontend
    if not isinstance(frontend, CharacterCNN):
        return torch.zeros(count, 1, dtype=torch.int64)
    widest = max(convolution.kernel_size[0] for convolution in frontend.convolutions)  # type: ignore[index]
    long = int(widest) + 8
    characters = torch.randint(frontend.embedding.shape[0] - 1, (count, long), generator=generator)
    lengths = torch.randint(2, 9, (count, 1), generator=generator)
    return characters.masked_fill(torch.arange(long) >= lengths, frontend.pad)


def only(batch: Batch, row: int, position: int, *, name: str = "next") -> Batch:
    """The batch with one target left."""
    target = torch.full_like(batch.targets[name], -1)
    target[row, position] = batch.targets[name][row, position]
    return replace(batch, targets={name: target})


def plain(objective: Objective, batch: Batch) -> Batch:
    """The batch without gaps and targets: `traces` then reads the text itself, as a readout does."""
    nothing = {objective.target: torch.full_like(batch.ids, -1)} if objective.target == "masked" else batch.targets
    return replace(batch, targets=nothing)


def window(batch: Batch, start: int, stop: int) -> Batch:
    """Positions `start` to `stop` of every row."""
    return _mapped(batch, lambda each: each[:, start:stop])


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, with their keys and their sources."""
    chosen = torch.tensor(list(rows), device=batch.ids.device)
    keys = None if batch.keys is None else batch.keys[chosen]
    source = None if batch.source is None else rows_of(batch.source, rows)
    return replace(_mapped(batch, lambda each: each[chosen]), keys=keys, source=source)


def documents_of(batch: Batch) -> Iterator[tuple[int, int, Batch]]:
    """(row, segment, the document alone in a row) for every document of a batch that is a view already."""
    for row, segments in enumerate(batch.segments):
        for segment in segments[segments > 0].unique().tolist():
            yield row, segment, _alone(batch, row, segment)


def _alone(batch: Batch, row: int, segment: int) -> Batch:
    here = (batch.segments[row] == segment).nonzero().flatten()
    keys = None if batch.keys is None else batch.keys[row : row + 1]
    source = None if batch.source is None else _alone(batch.source, row, segment)
    found = replace(_mapped(batch, lambda each: each[row : row + 1, here]), keys=keys, source=source)
    return replace(found, segments=torch.ones_like(found.segments))


def _mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with everything of shape (R, T) changed."""

    def maybe(part: Tensor | None) -> Tensor | None:
        return None if part is None else change(part)

    return replace(
        batch,
        ids=change(batch.ids),
        segments=change(batch.segments),
        positions=change(batch.positions),
        targets={name: change(target) for name, target in batch.targets.items()},
        words=maybe(batch.words),
        types=maybe(batch.types),
        prefix=maybe(batch.prefix),
        values=maybe(batch.values),
    )
