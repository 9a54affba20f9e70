"""Heads on frozen vectors: from the vectors of some examples to a loss and to predictions.

L layers, M vectors of all examples of a batch, one after the other, of which example r has `counts[r]`; R examples, T vectors of the
longest one, D width, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from malmoi.nn.crf import CRF, bio_rules
from malmoi.readout import ScalarMix

CELLS = 200
"""Of each direction of the biLSTM in front of a CRF (Peters et al. 2017, section 4.1, has 200 and 300)."""
LONGEST = 30
"""Words or pieces of an answer (Devlin et al. 2019, run_squad.py: max_answer_length)."""


class Head(nn.Module):
    """A loss and predictions for the vectors x_MD of some examples. A subclass says what `targets` and predictions are."""

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[Any]) -> Tensor:
        """The mean over the examples (over words, of tags one by one)."""
        raise NotImplementedError

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[Any]:
        """One prediction an example."""
        raise NotImplementedError


class Probed(nn.Module):
    """Layers -> one vector -> head. Every number of every layer is first brought to mean 0 and deviation 1 over the training set.

    mean_LD, deviation_LD: what these are. With several layers a scalar mix of them is learned (Peters et al. 2018, equation 1), whose
    squared weights count `decay` times in the loss (section 3.3: lambda).
    """

    def __init__(self, head: Head, *, mean_LD: Tensor, deviation_LD: Tensor, dropout: float, decay: float) -> None:
        super().__init__()
        self.head = head
        self.mix = ScalarMix(len(mean_LD)) if len(mean_LD) > 1 else None
        self.dropout = nn.Dropout(dropout)
        self.decay = decay
        self.mean_LD: Tensor
        self.scale_LD: Tensor
        self.register_buffer("mean_LD", mean_LD)
        self.register_buffer("scale_LD", torch.where(deviation_LD > 1e-6, 1 / deviation_LD.clamp_min(1e-6), 0.0))

    def read(self, x_LMD: Tensor) -> Tensor:
        """(L, M, D) -> (M, D)."""
        layers = ((x_LMD - self.mean_LD[:, None]) * self.scale_LD[:, None]).unbind(0)
        return self.dropout(layers[0] if self.mix is None else self.mix(layers))

    def loss(self, x_LMD: Tensor, counts: Sequence[int], targets: Sequence[Any]) -> Tensor:
        """That of the head, and that of the mix weights."""
        value = self.head.loss(self.read(x_LMD), counts, targets)
        return value if self.mix is None else value + self.decay * self.mix.weights.square().sum()

    def predict(self, x_LMD: Tensor, counts: Sequence[int]) -> list[Any]:
        """See Head."""
        return self.head.predict(self.read(x_LMD), counts)


def alike(u_RD: Tensor, v_RD: Tensor) -> Tensor:
    """[|u - v|; u * v; cosine], (..., 2D + 1): what does not depend on the order (Tai et al. 2015, section 4.2)."""
    cosine_R1 = functional.cosine_similarity(u_RD, v_RD, dim=-1)[..., None]
    return torch.cat([(u_RD - v_RD).abs(), u_RD * v_RD, cosine_R1], dim=-1)


def compared(u_RD: Tensor, v_RD: Tensor) -> Tensor:
    """[u; v; |u - v|; u * v; cosine], (..., 4D + 1) (Conneau et al. 2017, section 3.1, and the cosine)."""
    return torch.cat([u_RD, v_RD, alike(u_RD, v_RD)], dim=-1)


def halves(x_MD: Tensor) -> tuple[Tensor, Tensor]:
    """(R, D) and (R, D) of examples of two vectors."""
    return x_MD[0::2], x_MD[1::2]


def padded(x_MD: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(R, T, D) with zeros behind the end of each example, and where there is none of these (R, T)."""
    x_RTD = pad_sequence(list(x_MD.split(list(counts))), batch_first=True)
    count_R = torch.tensor(counts, device=x_MD.device)
    return x_RTD, torch.arange(x_RTD.shape[1], device=x_MD.device) < count_R[:, None]


class Labels(Head):
    """The label of one text, or of two vectors compared: logistic regression. A target and a prediction are the number of a label."""

    def __init__(self, width: int, *, labels: int, vectors: int) -> None:
        super().__init__()
        self.vectors = vectors
        self.linear = nn.Linear(4 * width + 1 if vectors == 2 else width, labels)

    def _scores(self, x_MD: Tensor) -> Tensor:
        scores_RK: Tensor = self.linear(compared(*halves(x_MD)) if self.vectors == 2 else x_MD)
        return scores_RK

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[int]) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(self._scores(x_MD), torch.tensor(targets, device=x_MD.device))

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[int]:
        """See Head."""
        found: list[int] = self._scores(x_MD).argmax(1).tolist()
        return found


class Number(Head):
    """How alike two vectors are, as a number: linear regression. mean, deviation: of the targets of the training set."""

    def __init__(self, width: int, *, mean: float, deviation: float) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width + 1, 1)
        self.mean, self.deviation = mean, max(deviation, 1e-6)

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[float]) -> Tensor:
        """The squared error, in deviations."""
        target_R = (torch.tensor(targets, device=x_MD.device) - self.mean) / self.deviation
        return functional.mse_loss(self.linear(alike(*halves(x_MD))).squeeze(1), target_R)

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[float]:
        """See Head."""
        found: list[float] = (self.linear(alike(*halves(x_MD))).squeeze(1) * self.deviation + self.mean).tolist()
        return found


class Choices(Head):
    """One of several: the first vector of an example is the context's, each other one is compared with it and gets a score."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4 * width + 1, 1, bias=False)

    def _scores(self, x_MD: Tensor, counts: Sequence[int]) -> Tensor:
        x_RTD, valid_RT = padded(x_MD, counts)
        context_RTD = x_RTD[:, :1].expand(-1, x_RTD.shape[1] - 1, -1)
        scores_RC = self.linear(compared(context_RTD, x_RTD[:, 1:])).squeeze(2)
        return scores_RC.masked_fill(~valid_RT[:, 1:], -torch.inf)

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[int]) -> Tensor:
        """Cross entropy over the choices of an example."""
        return functional.cross_entropy(self._scores(x_MD, counts), torch.tensor(targets, device=x_MD.device))

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[int]:
        """See Head."""
        found: list[int] = self._scores(x_MD, counts).argmax(1).tolist()
        return found


class Tags(Head):
    """A tag for each vector, one by one. A target and a prediction are the numbers of the tags, in a list."""

    def __init__(self, width: int, *, tags: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, tags)

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[Sequence[int]]) -> Tensor:
        """Cross entropy, the mean over words."""
        target_M = torch.tensor([tag for tags in targets for tag in tags], device=x_MD.device)
        return functional.cross_entropy(self.linear(x_MD), target_M)

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[list[int]]:
        """See Head."""
        return [tags.tolist() for tags in self.linear(x_MD).argmax(1).split(list(counts))]


class ChainedTags(Head):
    """Tags by a CRF over linear scores, of the vectors or of a biLSTM over them. BIO tags follow strict IOB2."""

    def __init__(self, width: int, *, labels: Sequence[str], lstm: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, CELLS, bidirectional=True, batch_first=True) if lstm else None
        self.linear = nn.Linear(2 * CELLS if lstm else width, len(labels))
        self.crf = CRF(len(labels), rules=bio_rules(labels))

    def _scores(self, x_MD: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        x_RTD, valid_RT = padded(x_MD, counts)
        if self.lstm is not None:
            packed = pack_padded_sequence(x_RTD, torch.tensor(counts), batch_first=True, enforce_sorted=False)
            x_RTD = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        return self.linear(x_RTD), valid_RT

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[Sequence[int]]) -> Tensor:
        """The negative log-likelihood of a sentence's tags, the mean over sentences."""
        tags_RT = pad_sequence([torch.tensor(tags, device=x_MD.device) for tags in targets], batch_first=True)
        scores_RTK, valid_RT = self._scores(x_MD, counts)
        return -self.crf(scores_RTK, tags_RT, valid_RT).mean()

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[list[int]]:
        """The likeliest tags of each sentence."""
        best_RT, _ = self.crf.best(*self._scores(x_MD, counts))
        return [tags[:count] for tags, count in zip(best_RT.tolist(), counts, strict=True)]


class Ends(Head):
    """Where an answer begins and ends. The first vector of an example is the question's, the others the context's; [h; q; h * q] of each
    gives two scores. A target and a prediction are (first, last), as numbers of vectors; (0, 0) is "no answer" where `none` allows it.
    """

    def __init__(self, width: int, *, none: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * width, 2)
        self.none = none

    def _scores(self, x_MD: Tensor, counts: Sequence[int]) -> Tensor:
        """(R, T, 2); -inf where no answer may begin or end."""
        x_RTD, valid_RT = padded(x_MD, counts)
        q_RTD = x_RTD[:, :1].expand_as(x_RTD)
        barred_RT = ~valid_RT
        if not self.none:
            barred_RT[:, 0] = valid_RT.sum(1) > 1
        return self.linear(torch.cat([x_RTD, q_RTD, x_RTD * q_RTD], dim=2)).masked_fill(barred_RT[:, :, None], -torch.inf)

    def loss(self, x_MD: Tensor, counts: Sequence[int], targets: Sequence[tuple[int, int]]) -> Tensor:
        """Cross entropy over the places, the mean of beginning and end."""
        target_R2 = torch.tensor(targets, device=x_MD.device)
        return functional.cross_entropy(self._scores(x_MD, counts), target_R2)

    def predict(self, x_MD: Tensor, counts: Sequence[int]) -> list[tuple[int, int]]:
        """The best pair, the end not before the beginning and less than LONGEST behind it; (0, 0) for none."""
        begin_RT, end_RT = torch.log_softmax(self._scores(x_MD, counts), dim=1).unbind(2)
        together_RTT = begin_RT[:, :, None] + end_RT[:, None, :]
        place_T = torch.arange(begin_RT.shape[1], device=x_MD.device)
        away_TT = place_T[None, :] - place_T[:, None]
        fits_TT = (away_TT >= 0) & (away_TT < LONGEST) & ((place_T[:, None] > 0) | (place_T[None, :] == 0))
        best_R = together_RTT.masked_fill(~fits_TT, -torch.inf).flatten(1).argmax(1)
        count = len(place_T)
        return [(best // count, best % count) for best in best_R.tolist()]
