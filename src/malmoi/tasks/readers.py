"""How a pre-trained model reads the rows of a task: its vectors at the positions that a head looks at.

R rows, T positions, D width, M positions that are read, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from malmoi import vocab
from malmoi.core.batch import Batch
from malmoi.core.marks import Marks
from malmoi.nn import CharacterCNN, Layout, Model, TokenEmbedding, VocabularyHead
from malmoi.objectives import BiLM
from malmoi.readout.layers import ScalarMix
from malmoi.readout.reading import evaluating
from malmoi.tasks.inputs import Row

SIMILAR = 0.6
"""The shortest row of those that are computed together has at least this share of the longest one's positions."""
TOGETHER = 4096
"""Positions that are computed together at most."""


class TextReader(nn.Module):
    """A Transformer. language: gives the loss of its language model too (Radford et al. 2018, section 3.3). known: ids that are words."""

    def __init__(self, model: Model, *, marks: Marks, language: bool, known: int) -> None:
        super().__init__()
        heads: dict[str, nn.Module] = {"words": model.heads["words"]} if language else {}
        self.model = Model(model.frontend, model.backbone, heads, dropout=model.dropout.p)
        self.marks = marks
        self.language = language
        self.known = known
        self.typed = isinstance(model.frontend, TokenEmbedding) and model.frontend.types is not None
        with evaluating(self.model):
            self.width: int = self.model.encode(self._batch([np.array([marks.begin])], [1])).last.shape[-1]

    def forward(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor | None]:
        """((M, D) the vectors at all parts of all rows, row by row; the mean loss of the next tokens of the texts, or None)."""
        found, total, count = [], None, 0
        for chosen in alike([len(row.ids) for row in rows]):
            some = [rows[index] for index in chosen]
            batch = self._batch([row.ids for row in some], [row.split for row in some])
            x_RTD = self.model.encode(batch).last
            found.append(x_RTD[positions(some)])
            if self.language and self.training:
                loss, told = self._next(x_RTD, batch.ids)
                total, count = loss if total is None else total + loss, count + told
        order = torch.from_numpy(in_order(rows)).to(found[0].device)
        return torch.cat(found)[order], None if total is None else total / max(count, 1)

    def depths(self) -> list[list[nn.Module]]:
        """The modules of each layer, the top one first, the front-end last."""
        blocks = list(getattr(self.model.backbone, "blocks", [self.model.backbone]))
        own = list({id(block): block for block in reversed(blocks)}.values())
        top = [*self.model.heads.values(), getattr(self.model.backbone, "norm", nn.Identity()), own[0]]
        return [top, *([block] for block in own[1:]), [self.model.frontend]]

    def _next(self, x_RTD: Tensor, ids_RT: Tensor) -> tuple[Tensor, int]:
        """Sum over the tokens of the texts, each predicted from what is before it; marks are not predicted."""
        head = self.model.heads["words"]
        assert isinstance(head, VocabularyHead)
        target_RT = ids_RT[:, 1:]
        told_RT = (target_RT < self.known) & (target_RT != self.marks.pad)
        return head.loss(x_RTD[:, :-1][told_RT], target_RT[told_RT])[0], int(told_RT.sum())

    def _batch(self, ids: Sequence[np.ndarray], splits: Sequence[int]) -> Batch:
        device = next(self.model.parameters()).device
        sizes = np.array([len(each) for each in ids])
        place = np.arange(sizes.max())
        segments = (place < sizes[:, None]).astype(np.int64)
        read = np.full(segments.shape, self.marks.pad, np.int64)
        read[segments > 0] = np.concatenate(ids)
        types = (place >= np.array(splits)[:, None]) * segments if self.typed else None
        parts = (read, segments, place * segments, *(() if types is None else (types,)))
        ids_RT, segments_RT, positions_RT, *others = (torch.from_numpy(part).to(device) for part in parts)
        return Batch(ids=ids_RT, segments=segments_RT, positions=positions_RT, types=others[0] if others else None)


class WordReader(nn.Module):
    """A biLM: both directions side by side, layers mixed by weights that are learned with the task (Peters et al. 2018, equation 1)."""

    language = False

    def __init__(self, objective: BiLM, *, vocabulary: vocab.Vocabulary) -> None:
        super().__init__()
        frontend = objective.forward_model.frontend
        self.frontend = frontend
        models = (Model(frontend, model.backbone, {}, dropout=model.dropout.p) for _, model in objective.directions())
        self.models = nn.ModuleList(models)
        self.vocabulary = vocabulary
        with evaluating(self.models):
            layers = self._layers([Row(np.zeros(0, np.int64), 0, (np.array([0]),), ("a",))])
        self.mix = ScalarMix(len(layers))
        self.width: int = layers[0].shape[-1]

    def forward(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor | None]:
        """((M, 2D) the vectors of the words at all parts of all rows, None)."""
        found = [self.mix(self._layers([rows[index] for index in chosen])) for chosen in alike([len(row.words) for row in rows])]
        order = torch.from_numpy(in_order(rows)).to(found[0].device)
        return torch.cat(found)[order], None

    def depths(self) -> list[list[nn.Module]]:
        """The modules of each layer, the top one first, the front-end last."""
        both = [list(getattr(model.backbone, "blocks", [model.backbone])) for model in self.models]
        return [*([*pair] for pair in reversed(list(zip(*both, strict=True)))), [self.frontend]]

    def _layers(self, rows: Sequence[Row]) -> list[Tensor]:
        """L x (M, 2D)."""
        sizes = np.array([len(row.words) for row in rows])
        row, place = (part.numpy() for part in positions(rows))
        batch = self._batch(rows, sizes).to(next(self.models.parameters()).device)
        halves = zip(self.frontend(batch).chunk(2), batch.segments.chunk(2), batch.positions.chunk(2), strict=True)
        sides = []
        for model, places, (x_RTD, segments, numbers) in zip(self.models, (place + 1, sizes[row] - place), halves, strict=True):
            trace = model.trace(x_RTD, None, None, Layout(segments, numbers))  # type: ignore[operator]
            at = torch.from_numpy(row).to(x_RTD.device), torch.from_numpy(places).to(x_RTD.device)
            sides.append([layer[at] for layer in trace.layers])
        return [torch.cat(pair, dim=1) for pair in zip(*sides, strict=True)]

    def _batch(self, rows: Sequence[Row], sizes: np.ndarray) -> Batch:
        begin, end, unknown = (vocab.MARKS[id] for id in (vocab.BOS, vocab.EOS, vocab.UNK))
        number = {begin: 0, end: 1}
        read = [[unknown if word in (begin, end) else word for word in row.words] for row in rows]
        for word in (word for words in read for word in words):
            number.setdefault(word, len(number))
        spelt = list(number)
        words = np.ones((2 * len(rows), int(sizes.max()) + 1), np.int64)
        for index, each in enumerate(read):
            line = [number[word] for word in each]
            words[index, : len(line) + 1] = [0, *line]
            words[len(rows) + index, : len(line) + 1] = [1, *line[::-1]]
        ids = np.array([vocab.BOS, vocab.EOS, *map(self.vocabulary.id_of, spelt[2:])])
        words_RT = torch.from_numpy(words)
        place = np.arange(words.shape[1])
        segments = (place <= np.tile(sizes, 2)[:, None]).astype(np.int64)
        characters = None
        if isinstance(self.frontend, CharacterCNN):
            characters = torch.from_numpy(self.vocabulary.characters.spell(spelt).astype(np.int64))
        return Batch(
            ids=torch.from_numpy(ids)[words_RT],
            segments=torch.from_numpy(segments),
            positions=torch.from_numpy(place * segments),
            words=words_RT,
            characters=characters,
        )


def alike(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Indices in groups, the longest first: of similar length, and not too many positions."""
    order = sorted(range(len(sizes)), key=lambda index: (-sizes[index], index))
    group: list[int] = []
    for index in order:
        longest = sizes[group[0]] if group else 0
        if group and (sizes[index] < SIMILAR * longest or (len(group) + 1) * longest > TOGETHER):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def in_order(rows: Sequence[Row]) -> np.ndarray:
    """Where what was read of the rows in the order of `alike` stands, in the order of the rows."""
    sizes = [len(row.words) or len(row.ids) for row in rows]
    counts = np.array([sum(len(part) for part in row.parts) for row in rows])
    order = np.array([index for chosen in alike(sizes) for index in chosen])
    begins = np.empty(len(rows), np.int64)
    begins[order] = np.cumsum(counts[order]) - counts[order]
    return np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def positions(rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """(row (M,), position (M,)) of everything that is read."""
    row = np.repeat(np.arange(len(rows)), [sum(len(part) for part in each.parts) for each in rows])
    return torch.from_numpy(row), torch.from_numpy(np.concatenate([part for each in rows for part in each.parts]).astype(np.int64))


def widened(model: Model, extra: int) -> int:
    """Put `extra` further tokens behind the vocabulary of a model, with vectors drawn like those that are there: the start, delimiter and
    extract tokens. An output matrix that is tied goes on being tied, and has them too. Returns the id of the first one."""
    frontend, head = model.frontend, model.heads["words"]
    assert isinstance(frontend, TokenEmbedding) and isinstance(head, VocabularyHead)
    before = frontend.weight
    drawn = torch.randn(extra, before.shape[1], dtype=before.dtype) * before.detach().float().std().cpu()
    frontend.weight = nn.Parameter(torch.cat([before.detach(), drawn.to(before)]))
    if getattr(head, "weight", None) is before:
        bias = torch.cat([head.bias.detach(), head.bias.detach().min().expand(extra)])
        head.weight, head.size = frontend.weight, head.size + extra
        if isinstance(head.bias, nn.Parameter):
            head.bias = nn.Parameter(bias)
        else:
            head.register_buffer("bias", bias, persistent=False)
    return len(before)
