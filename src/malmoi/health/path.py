"""One path: what `encode` reads through is what training moves, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from malmoi.core.batch import Batch
from malmoi.health.bench import device_of, head_parameters, undisturbed, without_dropout
from malmoi.health.finding import Finding, listing
from malmoi.objectives import BiLM, Objective
from malmoi.readout import Encoder
from malmoi.shards import Shards, document_batches
from malmoi.vocab import Vocabulary

AGREEMENT = 1e-4
"""Of the largest number of a layer: the readout computes other shapes, so the last bits differ."""


def one_path(objective: Objective, batch: Batch) -> list[Finding]:
    """Compares the parameters that a training step gives a gradient with those that the layers of `traces` depend on.

    Every parameter that `traces` (evaluation mode) reads through must be trained (M112), and every trained parameter must be read (M113),
    but those of heads and of models that `encode` is not meant to read: a generator, a decoder. What neither uses is named too (M115).
    """
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    with undisturbed(objective):
        without_dropout(objective)
        objective.train()
        objective.loss(batch).total.backward()
        trained, in_loss = _moved(objective), _reached(objective)
        objective.zero_grad(set_to_none=True)
        objective.requires_grad_(True)
        objective.eval()
        _mixed(objective, batch).backward()
        read, in_traces = _moved(objective), _reached(objective)
    found = []
    if never := read - trained:
        found.append(Finding.of("M112", "error", names=_named(never, names)))
    if lost := trained - read - head_parameters(objective) - _beside(objective):
        found.append(Finding.of("M113", "error", names=_named(lost, names)))
    if idle := names.keys() - in_loss - in_traces - never - lost:
        found.append(Finding.of("M115", "warning", names=_named(idle, names)))
    facts = f"{len(read)} parameters that `encode` reads through, every one with a gradient in a training step, and the reverse"
    return found or [Finding.good("one path", facts)]


def _beside(objective: Objective) -> set[int]:
    """Ids of the parameters of models that training moves beside those that `encode` reads."""
    read = {id(model) for _, model in objective.directions()}
    return {id(parameter) for model in objective.models().values() if id(model) not in read for parameter in model.parameters()}


def never_moved(objective: Objective, fresh: Objective, batch: Batch, *, steps: int) -> list[Finding]:
    """Parameters that `traces` reads through and that stand, bit for bit, as `fresh` (built from the same spec) has them (M114)."""
    with undisturbed(objective):
        objective.requires_grad_(True)
        objective.eval()
        _mixed(objective, batch).backward()
        read = _moved(objective)
    start = dict(fresh.named_parameters())
    same = [
        name
        for name, parameter in objective.named_parameters()
        if id(parameter) in read and name in start and torch.equal(parameter.detach().cpu(), start[name].detach().cpu())
    ]
    if same:
        return [Finding.of("M114", "error", names=listing(same), steps=steps)]
    return [Finding.good("moved", f"all {len(read)} parameters that `encode` reads through differ from their start after {steps:,} steps")]


def readout_agrees(objective: BiLM, vocabulary: Vocabulary, documents: Sequence[np.ndarray]) -> list[Finding]:
    """Every layer that `Encoder.encode` gives for some documents (ids) is that of the objective's own `traces` (M132)."""
    encoder = Encoder(objective.forward_model, objective.backward_model, vocabulary=vocabulary)
    given = encoder.encode([[vocabulary.words[word] for word in document] for document in documents], layer="all", state="reset")
    worst = 0.0
    for document, layers_LTD in _layers(objective, vocabulary, documents):
        for layer, (found_TD, expected_TD) in enumerate(zip(given[document], layers_LTD, strict=True)):
            apart = float(np.abs(found_TD - expected_TD).max() / max(np.abs(expected_TD).max(), 1e-9))
            worst = max(worst, apart)
            if not apart <= AGREEMENT:
                problem = f"layer {layer} of a document of {len(expected_TD)} words differs by {apart:.1e} of its size"
                return [Finding.of("M132", "error", problem=problem)]
    facts = f"`encode` gives the layers of the trained model for {len(documents)} documents (apart by {worst:.0e} at most)"
    return [Finding.good("readout", facts)]


@torch.no_grad()
def _layers(objective: BiLM, vocabulary: Vocabulary, documents: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """(document, its layers (L, T, 2D) as training computes them), in the order of the words."""
    shards = Shards.of(np.concatenate(documents), np.cumsum([len(document) for document in documents]))
    with undisturbed(objective):
        objective.eval()
        for chunks, rows in document_batches(shards, tokens=1 << 12, window=1 << 12, spelling=vocabulary.spelling.__getitem__):
            traces = objective.traces(next(iter(chunks)).to(device_of(objective)))
            for row, document in enumerate(rows.tolist()):
                stop = len(documents[document]) + 1
                forward, backward = (torch.stack([layer[row, 1:stop] for layer in traces[name].layers]) for name in ("forward", "backward"))
                yield document, torch.cat([forward, backward.flip(1)], dim=2).float().cpu().numpy()


def _mixed(objective: Objective, batch: Batch) -> Tensor:
    """A scalar that depends on every number of every layer that `encode` reads (a plain sum would be blind behind a norm)."""
    total = torch.zeros((), device=batch.ids.device)
    for trace in objective.traces(batch).values():
        for layer_RTD in trace.layers:  # what a readout reads; `last` is the loss's
            total = total + (layer_RTD.float() * torch.randn(layer_RTD.shape).to(layer_RTD.device)).sum()
    return total


def _moved(objective: nn.Module) -> set[int]:
    """Ids of the parameters with a gradient that is not 0 everywhere."""
    return {id(parameter) for parameter in objective.parameters() if parameter.grad is not None and bool(_values(parameter.grad).any())}


def _reached(objective: nn.Module) -> set[int]:
    """Ids of the parameters with a gradient, be it 0."""
    return {id(parameter) for parameter in objective.parameters() if parameter.grad is not None}


def _values(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _named(ids: set[int], names: dict[int, str]) -> str:
    return listing(name for key, name in names.items() if key in ids)
