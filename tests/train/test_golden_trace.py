"""Twelve training steps of the original program, number for number: its batches through our loss, clip and Adagrad."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from malmoi.core.recipe import AdagradSpec, TrainingSpec
from malmoi.train.optimizer import Optimizer

UNROLL = 5
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def twelve_steps(golden: ModuleType, shared: Path) -> tuple[list[dict[str, float]], list[object], dict[str, torch.Tensor]]:
    """(losses and norm of each step, carry after each step, weights at the end)."""
    spec = TrainingSpec(
        steps=12, optimizer=AdagradSpec(initial=1.0), learning_rate=0.2, clip_norm=1.0, loss_scale=float(UNROLL), precision="fp32"
    )
    assert spec.clip_norm is not None
    with golden.open_trace(shared) as trace:
        objective = golden.load_trace_objective(trace["weights_before"]).train()
        optimizer, carry = Optimizer(objective, spec), None
        facts, carries = [], []
        for number in range(12):
            loss = objective.loss(golden.trace_batch(trace[f"step{number:02d}"]), carry)
            (loss.total * spec.loss_scale).backward()
            norm = optimizer.clip(spec.clip_norm)
            optimizer.step(spec.learning_rate)
            carry = loss.carry
            parts = {name: float(part) for name, part in loss.parts.items()}
            facts.append({"total": float(loss.total.detach()), **parts, "norm": norm, "count": loss.count})
            carries.append(carry)
    return facts, carries, {name: parameter.detach() for name, parameter in objective.named_parameters()}


def test_losses_and_gradient_norms(twelve_steps, golden: ModuleType, shared: Path) -> None:  # type: ignore[no-untyped-def]
    names = {"total": "total_loss", "forward": "loss_forward", "backward": "loss_backward", "norm": "grad_global_norm_before_clip"}
    with golden.open_trace(shared) as trace:
        for number, facts in enumerate(twelve_steps[0]):
            recorded = trace[f"step{number:02d}"].attrs
            for ours, theirs in names.items():
                assert facts[ours] == pytest.approx(recorded[theirs], rel=TOLERANCE), (number, ours)
            assert recorded["grad_global_norm_before_clip"] > 1.0, "the clip is meant to be active in every step"
            assert facts["count"] == 2 * UNROLL


def test_carried_states(twelve_steps, golden: ModuleType, shared: Path) -> None:  # type: ignore[no-untyped-def]
    clipped = total = 0
    with golden.open_trace(shared) as trace:
        for number, carry in enumerate(twelve_steps[1]):
            recorded = golden.trace_carry(trace[f"step{number:02d}"])
            for direction in ("forward", "backward"):
                for ours, theirs in zip(carry[direction], recorded[direction], strict=True):
                    torch.testing.assert_close(ours[0], theirs[0], rtol=TOLERANCE, atol=TOLERANCE)
                    torch.testing.assert_close(ours[1], theirs[1], rtol=TOLERANCE, atol=TOLERANCE)
                    clipped += int((theirs[1].abs() >= 0.25).sum())
                    total += theirs[1].numel()
    assert (clipped, total) == (1008, 1536), "the cell clip is meant to be active"


def test_weights_after(twelve_steps, golden: ModuleType, shared: Path) -> None:  # type: ignore[no-untyped-def]
    with golden.open_trace(shared) as trace:
        after, before = golden.weights_of(trace["weights_after"]), golden.weights_of(trace["weights_before"])
    assert twelve_steps[2].keys() == after.keys()
    for name, weight in twelve_steps[2].items():
        torch.testing.assert_close(
            weight, torch.from_numpy(after[name].copy()), rtol=TOLERANCE, atol=TOLERANCE, msg=lambda m, n=name: f"{n}: {m}"
        )
        assert abs(after[name] - before[name]).max() > 100 * TOLERANCE, f"{name} is not moved by the recording"
