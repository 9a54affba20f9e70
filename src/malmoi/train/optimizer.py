"""Optimizers: Adagrad, AdamW and plain SGD, for whole gradients and for gradients of a few rows alike.

Their state goes to disk as named tensors. The arithmetic is torch's (the tests hold it to torch.optim); what differs is that rows that a
step did not touch are not read or written, whatever the optimizer, which is what makes a large output layer affordable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from malmoi.core.recipe import AdagradSpec, AdamWSpec, SGDSpec, TrainingSpec
from malmoi.train.processes import Alone, local, placed

State = dict[str, Tensor]


class Optimizer:
    """Updates the parameters of a module in place. `steps` counts the updates. Of parameters that are divided among the processes of
    `group` each updates its part."""

    def __init__(self, module: nn.Module, spec: TrainingSpec, group: Alone | None = None) -> None:
        self.group = group or Alone()
        self.named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self.choice = spec.optimizer
        self.steps = 0
        self.states: dict[str, State] = {name: self._fresh(parameter) for name, parameter in self.named.items()}

    def scale(self, factor: float) -> None:
        """Multiply all gradients by `factor`."""
        if factor != 1.0:
            for parameter in self.named.values():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def clip(self, largest: float | None) -> float:
        """Scale all gradients so that their global norm is at most `largest`; the norm before."""
        gradients: list[Tensor] = []
        divided: list[Tensor] = []
        for parameter in self.named.values():
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.coalesce()
                gradient = parameter.grad._values() if parameter.grad.is_sparse else parameter.grad
                (divided if hasattr(gradient, "to_local") else gradients).append(local(gradient))
        norm = _norm(gradients)
        if divided:
            norm = math.sqrt(norm**2 + self.group.summed([_norm(divided) ** 2])[0])
        if largest is not None and norm > largest:
            for gradient in (*gradients, *divided):
                gradient.mul_(largest / norm)
        return norm

    def forget(self) -> None:
        """Drop the gradients without applying them."""
        for parameter in self.named.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradients with this learning rate, and forget them."""
        self.steps += 1
        whole: list[tuple[Tensor, Tensor, State]] = []
        for name, parameter in self.named.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is None:
                continue
            if not gradient.is_sparse:
                state = {key: local(value) for key, value in self.states[name].items()}
                whole.append((local(parameter), local(gradient), state))
                continue
            gradient = gradient.coalesce()
            rows, values = gradient._indices()[0], gradient._values()
            touched = {key: value[rows] for key, value in self.states[name].items()}
            weights = parameter[rows]
            self._update(weights, values, touched, rate)
            parameter.index_copy_(0, rows, weights)
            for key, value in touched.items():
                self.states[name][key].index_copy_(0, rows, value)
        self._update_whole(whole, rate)

    def tensors(self) -> dict[str, Tensor]:
        """The state: `steps`, and `NAME/sum` or `NAME/mean`, `NAME/square` of each parameter."""
        named = {f"{name}/{key}": value for name, state in self.states.items() for key, value in state.items()}
        return {"steps": torch.tensor(self.steps), **named}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` gave."""
        self.steps = int(tensors["steps"])
        for name, state in self.states.items():
            for key, value in state.items():
                value.copy_(placed(tensors[f"{name}/{key}"], value))

    def _fresh(self, parameter: Tensor) -> State:
        if isinstance(self.choice, SGDSpec):
            return {}
        if isinstance(self.choice, AdagradSpec):
            return {"sum": torch.full_like(parameter, self.choice.initial, requires_grad=False)}
        return {"mean": torch.zeros_like(parameter, requires_grad=False), "square": torch.zeros_like(parameter, requires_grad=False)}

    def _update_whole(self, parts: list[tuple[Tensor, Tensor, State]], rate: float) -> None:
        """(parameter, gradient, state) of every parameter whose gradient is whole; AdamW goes over each kind in one call."""
        if not isinstance(self.choice, AdamWSpec):
            for weights, gradient, state in parts:
                self._update(weights, gradient, state, rate)
            return
        for decay in {self._decay(weights) for weights, _, _ in parts}:
            group = [part for part in parts if self._decay(part[0]) == decay]
            _adamw_whole(group, rate, choice=self.choice, steps=self.steps, decay=decay)

    def _decay(self, weights: Tensor) -> float:
        """The weight decay of a parameter."""
        assert isinstance(self.choice, AdamWSpec)
        return self.choice.weight_decay if self.choice.decayed == "all" or weights.ndim >= 2 else 0.0

    def _update(self, weights: Tensor, gradient: Tensor, state: State, rate: float) -> None:
        """Some rows of a parameter; all of one shape, in place."""
        if isinstance(self.choice, AdamWSpec):
            _adamw(weights, gradient, state, rate, choice=self.choice, steps=self.steps)
        elif isinstance(self.choice, SGDSpec):
            weights.sub_(gradient, alpha=rate)
        else:
            _adagrad(weights, gradient, state, rate)


def _norm(tensors: list[Tensor]) -> float:
    if not tensors:
        return 0.0
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors])))


def _adagrad(weights: Tensor, gradient: Tensor, state: State, rate: float) -> None:
    """Duchi et al. 2011, without epsilon, as TensorFlow's and bilm-tf's."""
    state["sum"].addcmul_(gradient, gradient)
    weights.addcdiv_(gradient, state["sum"].sqrt(), value=-rate)


def _adamw_whole(parts: list[tuple[Tensor, Tensor, State]], rate: float, *, choice: AdamWSpec, steps: int, decay: float) -> None:
    """`_adamw` of many parameters in one pass over the memory: torch's kernel of torch.optim.AdamW(fused=True)."""
    weights, gradients, states = zip(*parts, strict=True)
    torch._fused_adamw_(
        list(weights),
        list(gradients),
        [state["mean"] for state in states],
        [state["square"] for state in states],
        [],
        [torch.tensor(float(steps), device=each.device) for each in weights],
        lr=rate,
        beta1=choice.betas[0],
        beta2=choice.betas[1],
        weight_decay=decay,
        eps=choice.epsilon,
        amsgrad=False,
        maximize=False,
    )


def _adamw(weights: Tensor, gradient: Tensor, state: State, rate: float, *, choice: AdamWSpec, steps: int) -> None:
    """Loshchilov and Hutter 2019, algorithm 2."""
    first, second = choice.betas
    weights.mul_(1.0 - rate * choice.weight_decay)
    state["mean"].lerp_(gradient, 1.0 - first)
    state["square"].mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
    scale = state["square"].sqrt().div_(math.sqrt(1.0 - second**steps)).add_(choice.epsilon)
    weights.addcdiv_(state["mean"], scale, value=-rate / (1.0 - first**steps))
