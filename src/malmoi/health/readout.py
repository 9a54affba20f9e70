"""What is read out of a Transformer is what was trained.

T positions, L layers, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from malmoi.core.batch import Batch
from malmoi.health.bench import device_of, undisturbed
from malmoi.health.finding import Finding
from malmoi.health.path import AGREEMENT
from malmoi.objectives import Objective
from malmoi.readout import TokenEncoder
from malmoi.vocab import Subwords


def tokens_agree(objective: Objective, vocabulary: Subwords, documents: Sequence[np.ndarray]) -> list[Finding]:
    """Every layer that `TokenEncoder.encode` gives for some documents (ids) is that of the trained model over a row that is laid as in
    training (M132)."""
    texts = [vocabulary.decode(document) for document in documents]
    ids = [vocabulary.encode(text) for text in texts]
    longest = max(map(len, ids), default=0) + 2
    given = TokenEncoder(objective.model, vocabulary, longest, layout=objective.reading).encode(texts, layer="all")
    worst = 0.0
    for found_LTD, tokens in zip(given, ids, strict=True):
        expected_LTD = _layers(objective, vocabulary, tokens)
        for layer, (found_TD, expected_TD) in enumerate(zip(found_LTD, expected_LTD, strict=True)):
            apart = float(np.abs(found_TD - expected_TD).max(initial=0.0) / max(np.abs(expected_TD).max(initial=0.0), 1e-9))
            worst = max(worst, apart)
            if not apart <= AGREEMENT:
                problem = f"layer {layer} of a document of {len(expected_TD)} tokens differs by {apart:.1e} of its size"
                return [Finding.of("M132", "error", problem=problem)]
    facts = f"`encode` gives the layers of the trained model for {len(documents)} documents (apart by {worst:.0e} at most)"
    return [Finding.good("readout", facts)]


@torch.no_grad()
def _layers(objective: Objective, vocabulary: Subwords, tokens: np.ndarray) -> np.ndarray:
    """(L, T, D) of the tokens between their marks."""
    before = [vocabulary.marks.begin] if objective.reading != "source" else []
    behind = [vocabulary.marks.end] if objective.reading != "causal" else []
    ids = torch.tensor([[*before, *tokens.tolist(), *behind]], device=device_of(objective))
    batch = Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.arange(ids.shape[1], device=ids.device)[None])
    with undisturbed(objective):
        objective.eval()
        layers = torch.stack(objective.model.encode(batch).layers)
    return layers[:, 0, len(before) : len(before) + len(tokens)].float().cpu().numpy()
