"""Muon for matrices, AdamW for the rest, and an exponential moving average of the weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MUON_RATE = 6e-3
ADAM_RATE = 3e-3
MOMENTUM = 0.95
DECAY = 0.02  # decoupled weight decay, times the learning rate


def _orthogonalise(update: Tensor) -> Tensor:
    """Nearest (semi-)orthogonal matrices of (n, rows, columns), by five Newton-Schulz steps.

    Coefficients of Keller Jordan's Muon (https://kellerjordan.github.io/posts/muon/).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    flip = update.shape[1] > update.shape[2]
    x = update.transpose(1, 2) if flip else update
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if x.is_cuda:
        x = x.bfloat16()
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.to(update.dtype)
    return result.transpose(1, 2) if flip else result


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal; equal shapes are updated as one batch."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = MUON_RATE) -> None:
        """Optimise 2-D ``parameters`` only."""
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; ``closure`` is not used."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._step_shape(parameters, shape, group["lr"])

    def _step_shape(self, parameters: list[nn.Parameter], shape: torch.Size, lr: float) -> None:
        updates: list[Tensor] = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            assert parameter.grad is not None  # the caller chose those that have one
            momentum = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
            updates.append(torch.lerp(parameter.grad, momentum, MOMENTUM))
        direction = _orthogonalise(torch.stack(updates))
        scale = lr * math.sqrt(max(1.0, shape[0] / shape[1]))
        for parameter, step in zip(parameters, direction, strict=True):
            parameter.mul_(1 - lr * DECAY).add_(step, alpha=-scale)


def build_optimizers(
    transformer: nn.Module, text_encoder: nn.Module, reader: nn.Module
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, ends, biases and norms."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = list(reader.parameters())
    for module, inside in ((transformer, "transformer_blocks."), (text_encoder, "encoder.block.")):
        for name, parameter in module.named_parameters():
            inner = inside in name and parameter.ndim == 2
            skip = "scale_shift_table" in name or "relative_attention_bias" in name
            (matrices if inner and not skip else others).append(parameter)
    adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.97), weight_decay=0.0, fused=True)
    optimizers: list[torch.optim.Optimizer] = [Muon(matrices), adam]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def set_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Scale every learning rate to ``factor`` of its nominal value."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor


class MovingAverage:
    """Exponential moving average of the parameters of several modules."""

    def __init__(self, modules: list[nn.Module], decay: float) -> None:
        """Begin at the present weights."""
        self.decay = decay
        self.parameters = [p for m in modules for p in m.parameters()]
        self.shadow = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the present weights; fast during the first steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averaged and present weights; call again to go back."""
        for parameter, shadow in zip(self.parameters, self.shadow, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(kept)
