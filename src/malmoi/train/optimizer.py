"""Optimizers with a schedule's learning rate, a global-norm clip, and state that goes to disk as named tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from malmoi.core.recipe import AdagradSpec, TrainingSpec


class Optimizer:
    """torch's Adagrad, or torch's AdamW (with SparseAdam for parameters whose gradients come as a few rows).

    Adagrad without epsilon is TensorFlow's (Duchi et al. 2011; bilm-tf): it leaves untouched rows as they are by itself.
    """

    def __init__(self, module: nn.Module, spec: TrainingSpec) -> None:
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters() if parameter.requires_grad}
        sparse = _sparse_parameters(module)
        dense = [parameter for parameter in self.names if parameter not in sparse]
        rows = [parameter for parameter in self.names if parameter in sparse]
        choice, rate = spec.optimizer, spec.learning_rate
        self.parts: list[torch.optim.Optimizer] = []
        if isinstance(choice, AdagradSpec):
            self.parts.append(torch.optim.Adagrad(dense + rows, lr=rate, initial_accumulator_value=choice.initial, eps=0.0, foreach=False))
        else:
            self.parts.append(torch.optim.AdamW(dense, lr=rate, betas=choice.betas, eps=choice.epsilon, weight_decay=choice.weight_decay))
            if rows:
                self.parts.append(torch.optim.SparseAdam(rows, lr=rate, betas=choice.betas, eps=choice.epsilon))

    def step(self, rate: float) -> None:
        """Apply the gradients with this learning rate, and forget them."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)

    def clip(self, largest: float | None) -> float:
        """Scale all gradients so that their global norm is at most `largest`; the norm before."""
        gradients = []
        for parameter in self.names:
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.coalesce()
                gradients.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
        norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])))
        if largest is not None and norm > largest:
            for gradient in gradients:
                gradient.mul_(largest / norm)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """The state by name: `parameter name` + `/` + `exp_avg`, `sum`, `step` and so on."""
        return {
            f"{self.names[parameter]}/{key}": torch.as_tensor(value)
            for part in self.parts
            for parameter, state in part.state.items()
            for key, value in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` gave."""
        by_name = {name: parameter for parameter, name in self.names.items()}
        owner = {parameter: part for part in self.parts for group in part.param_groups for parameter in group["params"]}
        for part in self.parts:
            part.state.clear()
        for key, value in tensors.items():
            name, _, item = key.rpartition("/")
            part = owner[by_name[name]]
            whole = item == "step" and isinstance(part, torch.optim.SparseAdam)
            part.state[by_name[name]][item] = int(value) if whole else value.clone()


def _sparse_parameters(module: nn.Module) -> set[nn.Parameter]:
    """The weights of modules that say that their gradients come as a few rows."""
    return {part.weight for part in module.modules() if getattr(part, "sparse", False)}  # type: ignore[misc]
