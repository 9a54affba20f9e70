"""What is read out of a Transformer, or of vectors of words, is what was trained.

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
from malmoi.readout import StaticEncoder, TokenEncoder
from malmoi.vocab import MARKS, Subwords, Vocabulary


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
def static_agrees(objective: Objective, vocabulary: Vocabulary) -> list[Finding]:
    """Every vector that `StaticEncoder` gives is the one that was trained (M132), and how much of the text has one."""
    size = objective.output_size
    encoder = StaticEncoder(objective.model, vocabulary, size=size)
    [found_VD] = encoder.encode([list(vocabulary.words[len(MARKS) : size])])
    ids = torch.arange(len(MARKS), size, device=device_of(objective))[None]
    batch = Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.zeros_like(ids))
    with undisturbed(objective):
        objective.eval()
        expected_VD = objective.model.encode(batch).last[0].float().cpu().numpy()
    apart = float(np.abs(found_VD - expected_VD).max(initial=0.0) / max(np.abs(expected_VD).max(initial=0.0), 1e-9))
    if not apart <= AGREEMENT:
        return [Finding.of("M132", "error", problem=f"a vector of a word differs by {apart:.1e} of its size")]
    share = vocabulary.counts[len(MARKS) : size].sum() / max(vocabulary.counts.sum(), 1)
    facts = f"`encode` gives the trained vectors of {size - len(MARKS):,} words, {share:.1%} of the text; the others are too rare"
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
