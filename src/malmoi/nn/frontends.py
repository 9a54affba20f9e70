"""Front-ends: a batch -> vectors (R, T, D).

R rows, T positions, D width, W distinct words, C characters a word, F filters in all, d character width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.batch import Batch
from malmoi.core.recipe import CharacterCNNSpec, SoftOneHotSpec, TokenEmbeddingSpec
from malmoi.nn.attention import BASE

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
    """One vector a token; the ids past the table share that of the unknown token. Positions and token types are added, then norm
    and dropout follow, then a projection where the table is narrower than the model (BERT; ALBERT section 3.1).

    like: another embedding whose table, positions, types and norm are shared (ELECTRA section 3.2).
    """

    def __init__(
        self,
        spec: TokenEmbeddingSpec,
        *,
        size: int,
        width: int,
        unknown: int,
        dropout: float = 0.0,
        epsilon: float = 1e-5,
        sparse: bool = False,
        like: TokenEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.unknown, self.sparse, self.length = unknown, sparse, spec.length
        table: int = like.weight.shape[1] if like else spec.width or width
        self.scale = math.sqrt(table) if spec.scale else None
        self.weight: nn.Parameter = (
            like.weight if like else nn.Parameter(torch.empty(size, table).uniform_(-1.0, 1.0) * math.sqrt(3.0 / table))
        )
        self.positions: nn.Parameter | None = like.positions if like else None
        self.types: nn.Parameter | None = like.types if like else None
        self.norm: nn.LayerNorm | None = like.norm if like else None
        if like is None and spec.positions == "learned":
            self.positions = nn.Parameter(torch.randn(spec.length, table) * 0.02)
        if like is None and spec.types:
            self.types = nn.Parameter(torch.randn(spec.types, table) * 0.02)
        if like is None and spec.norm:
            self.norm = nn.LayerNorm(table, eps=epsilon)
        waves = sinusoids(spec.length, table) if spec.positions == "sinusoidal" else None
        self.register_buffer("waves", waves, persistent=False)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.projection = nn.Linear(table, width) if table != width else nn.Identity()

    def forward(self, batch: Batch) -> Tensor:
        """-> (R, T, D). Raises ValueError for a position past the learned ones."""
        ids = batch.ids.masked_fill(batch.ids >= self.weight.shape[0], self.unknown)
        x_RTE = F.embedding(ids, self.weight, sparse=self.sparse)
        if self.scale is not None:
            x_RTE = x_RTE * self.scale
        if self.types is not None:
            types = torch.zeros_like(ids) if batch.types is None else batch.types
            x_RTE = x_RTE + F.embedding(types, self.types)
        places = self.positions if self.positions is not None else self.waves
        if isinstance(places, Tensor):
            if not batch.positions.is_cuda and int(batch.positions.max()) >= self.length:
                raise ValueError(f"position {int(batch.positions.max())} of a model that knows {self.length}")
            x_RTE = x_RTE + F.embedding(batch.positions, places)
        return self.projection(self.dropout(x_RTE if self.norm is None else self.norm(x_RTE)))


def sinusoids(length: int, width: int) -> Tensor:
    """(length, width): sines at even places, cosines at odd ones (Vaswani et al. 2017, section 3.5)."""
    rate = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width].float()


class SoftOneHot(nn.Module):
    """A number -> softmax(log(1 + |x|) w + b) over bins -> the mixture of the bins' vectors (Li, Du and Bengio 2017, section 3.2).
    The sign goes with the logarithm, which the paper's durations do not need."""

    def __init__(self, spec: SoftOneHotSpec, *, width: int) -> None:
        super().__init__()
        self.choice = nn.Linear(1, spec.bins)
        self.weight = nn.Parameter(torch.randn(spec.bins, width) * 0.02)

    def forward(self, batch: Batch) -> Tensor:
        """`batch.values` (R, T) -> (R, T, D)."""
        assert batch.values is not None, "this front-end reads Batch.values"
        return torch.softmax(self.bins(batch.values), dim=-1) @ self.weight

    def bins(self, values_RT: Tensor) -> Tensor:
        """(R, T, bins) logits."""
        return self.choice((values_RT.sign() * values_RT.abs().log1p())[..., None])
