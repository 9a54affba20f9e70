"""Front-ends: a batch -> vectors (R, T, D).

R rows, T positions, D width, W distinct words, C characters a word, F filters in all, d character width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.core.recipe import CharacterCNNSpec

LENGTH_GROUPS = 4
"""Parts of about equal size into which the distinct words of a batch are sorted by length."""


def convolved_places(characters_WC: Tensor, *, pad: int, widest: int) -> int:
    """How many places of words `CharacterCNN` convolves for these words: each group is read as far as its longest, and a filter further."""
    lengths_W = (characters_WC != pad).sum(dim=1).sort().values
    groups = [group for group in lengths_W.tensor_split(LENGTH_GROUPS) if len(group)]
    return sum(len(group) * min(int(group[-1]) + widest, characters_WC.shape[1]) for group in groups)


class Highway(nn.Module):
    """g * relu(Wx + b) + (1 - g) * x with g = sigmoid(W'x + b'), b' starting at -2 (Srivastava et al. 2015; bilm-tf)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        for linear, bias in ((self.transform, 0.0), (self.gate, -2.0)):
            nn.init.normal_(linear.weight, std=math.sqrt(1.0 / width))
            nn.init.constant_(linear.bias, bias)

    def forward(self, x_WF: Tensor) -> Tensor:
        return torch.lerp(x_WF, torch.relu(self.transform(x_WF)), torch.sigmoid(self.gate(x_WF)))


class CharacterCNN(nn.Module):
    """Words from their characters: convolutions, max over all positions (the padding is a learned character and takes part),
    activation, highway layers, projection. Kim et al. 2016; ELMo section 3.4; the order of operations is bilm-tf's.

    Each distinct word of a batch is computed once: `Batch.characters` holds them, `Batch.words` says where they stand.
    """

    def __init__(self, spec: CharacterCNNSpec, *, width: int, characters: int, pad: int) -> None:
        super().__init__()
        self.pad = pad
        self.embedding = nn.Parameter(torch.empty(characters, spec.width).uniform_(-1.0, 1.0))
        self.convolutions = nn.ModuleList(nn.Conv1d(spec.width, count, wide) for wide, count in spec.filters)
        self.activation = torch.relu if spec.activation == "relu" else torch.tanh
        total = sum(count for _, count in spec.filters)
        self.highways = nn.ModuleList(Highway(total) for _ in range(spec.highway))
        self.projection = nn.Linear(total, width) if total != width else nn.Identity()
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            if spec.activation == "relu":
                nn.init.uniform_(convolution.weight, -0.05, 0.05)
            else:
                nn.init.normal_(convolution.weight, std=math.sqrt(1.0 / (convolution.kernel_size[0] * spec.width)))
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        if isinstance(self.projection, nn.Linear):
            nn.init.normal_(self.projection.weight, std=math.sqrt(1.0 / total))
            nn.init.zeros_(self.projection.bias)

    def forward(self, batch: Batch) -> Tensor:
        """-> (R, T, D)."""
        assert batch.words is not None and batch.characters is not None, "a character front-end needs Batch.characters"
        return F.embedding(batch.words, self.spell(batch.characters))

    def spell(self, characters_WC: Tensor) -> Tensor:
        """(W, C) character ids -> (W, D), one vector a word. Words of similar length are convolved together."""
        lengths_W = (characters_WC != self.pad).sum(dim=1)
        order_W = lengths_W.argsort(stable=True)
        pooled = [self._pooled(characters_WC[part], int(lengths_W[part[-1]])) for part in order_W.tensor_split(LENGTH_GROUPS) if len(part)]
        x_WF = self.activation(torch.cat(pooled)[order_W.argsort()])
        for highway in self.highways:
            x_WF = highway(x_WF)
        return self.projection(x_WF)

    def _pooled(self, characters_WC: Tensor, longest: int) -> Tensor:
        """(W, F): the convolutions at their best place. Of the padding behind the longest word only as much is read as gives each
        filter one window of nothing but padding: further ones cannot change the maximum."""
        widest = max(convolution.kernel_size[0] for convolution in self.convolutions)  # type: ignore[index]
        x_WdC = F.embedding(characters_WC[:, : longest + widest], self.embedding).transpose(1, 2)
        return torch.cat([convolution(x_WdC).amax(dim=2) for convolution in self.convolutions], dim=1)


class TokenEmbedding(nn.Module):
    """One vector an output word; the ids past the output vocabulary share that of <unk>."""

    def __init__(self, *, size: int, width: int, unknown: int, sparse: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, width).uniform_(-1.0, 1.0) * math.sqrt(3.0 / width))
        self.unknown = unknown
        self.sparse = sparse

    def forward(self, batch: Batch) -> Tensor:
        """-> (R, T, D)."""
        ids = batch.ids.masked_fill(batch.ids >= self.weight.shape[0], self.unknown)
        return F.embedding(ids, self.weight, sparse=self.sparse)
