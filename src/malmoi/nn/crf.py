"""A linear chain over tags: exact likelihoods and the best path (Lafferty et al. 2001; Lample et al. 2016, section 2.2).

R rows, T positions, K tags. The valid positions of a row are its first ones, and there is at least one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FORBIDDEN = -1e4
"""Score of a step that is not allowed: exp of it is 0 in every float, and unlike -inf it has a gradient."""


class CRF(nn.Module):
    """The score of a path y over scores s (T, K) is begin[y_1] + sum s[t, y_t] + sum step[y_t, y_t+1] + end[y_T].

    rules: which tag may follow which (K, K), row first, and which may stand at the beginning (K,), both bool; None: all. What is not
    allowed has no share in the partition sum and is never on the best path.
    """

    def __init__(self, tags: int, *, rules: tuple[Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.zeros(tags, tags))
        self.begin = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        follows_KK, begins_K = rules or (torch.ones(tags, tags, dtype=torch.bool), torch.ones(tags, dtype=torch.bool))
        self.barred_KK: Tensor
        self.barred_K: Tensor
        self.register_buffer("barred_KK", (~follows_KK).float() * FORBIDDEN, persistent=False)
        self.register_buffer("barred_K", (~begins_K).float() * FORBIDDEN, persistent=False)

    def forward(self, scores_RTK: Tensor, tags_RT: Tensor, valid_RT: Tensor) -> Tensor:
        """(R,): the log-likelihood of each row's tags. They must be allowed ones; where a position is not valid they are not read."""
        return self.score(scores_RTK, tags_RT, valid_RT) - self.log_partition(scores_RTK, valid_RT)

    def score(self, scores_RTK: Tensor, tags_RT: Tensor, valid_RT: Tensor) -> Tensor:
        """(R,): the score of one path a row."""
        tags_RT = tags_RT.masked_fill(~valid_RT, 0)
        at_RT = scores_RTK.gather(2, tags_RT[:, :, None]).squeeze(2)
        steps_RT = (self.step + self.barred_KK)[tags_RT[:, :-1], tags_RT[:, 1:]]
        last_R = tags_RT.gather(1, valid_RT.sum(1, keepdim=True) - 1).squeeze(1)
        ends_R = (self.begin + self.barred_K)[tags_RT[:, 0]] + self.end[last_R]
        return ends_R + at_RT.masked_fill(~valid_RT, 0.0).sum(1) + steps_RT.masked_fill(~valid_RT[:, 1:], 0.0).sum(1)

    def log_partition(self, scores_RTK: Tensor, valid_RT: Tensor) -> Tensor:
        """(R,): the logarithm of the sum of exp(score) over all allowed paths (the forward algorithm)."""
        step_KK = self.step + self.barred_KK
        a_RK = self.begin + self.barred_K + scores_RTK[:, 0]
        for t in range(1, scores_RTK.shape[1]):
            next_RK = torch.logsumexp(a_RK[:, :, None] + step_KK, dim=1) + scores_RTK[:, t]
            a_RK = torch.where(valid_RT[:, t, None], next_RK, a_RK)
        return torch.logsumexp(a_RK + self.end, dim=1)

    @torch.no_grad()
    def best(self, scores_RTK: Tensor, valid_RT: Tensor) -> tuple[Tensor, Tensor]:
        """(the best path of each row (R, T), -1 where a position is not valid; its score (R,)) (Viterbi 1967)."""
        step_KK = self.step + self.barred_KK
        a_RK = self.begin + self.barred_K + scores_RTK[:, 0]
        stay_K = torch.arange(a_RK.shape[1], device=a_RK.device)
        came: list[Tensor] = []
        for t in range(1, scores_RTK.shape[1]):
            best_RK, from_RK = (a_RK[:, :, None] + step_KK).max(dim=1)
            valid_R1 = valid_RT[:, t, None]
            a_RK = torch.where(valid_R1, best_RK + scores_RTK[:, t], a_RK)
            came.append(torch.where(valid_R1, from_RK, stay_K))
        score_R, tag_R = (a_RK + self.end).max(dim=1)
        path = [tag_R]
        for from_RK in reversed(came):
            path.append(from_RK.gather(1, path[-1][:, None]).squeeze(1))
        return torch.stack(path[::-1], dim=1).masked_fill(~valid_RT, -1), score_R


def bio_rules(labels: Sequence[str]) -> tuple[Tensor, Tensor] | None:
    """Which of these tags may follow which, and which may begin, by strict IOB2: I-X only behind B-X or I-X. None where the tags are of
    another kind."""
    if "O" not in labels or not all(label == "O" or label[:2] in ("B-", "I-") for label in labels):
        return None
    follows = [[after[0] != "I" or (before[0] in "BI" and before[2:] == after[2:]) for after in labels] for before in labels]
    return torch.tensor(follows), torch.tensor([label[0] != "I" for label in labels])
