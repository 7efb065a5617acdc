"""Fake quantisers: QuantizeLinear then DequantizeLinear, with a gradient. Runs in a child only.

Rounding passes its gradient straight through (Bengio et al. 2013). The step of an activation
learns in the logarithm, as in trained quantisation thresholds (Jain et al. 2020), with the gradient
of learned step size quantisation (Esser et al. 2020): for y = s (clip(round(x/s) + z) - z),
dy/d(log s) = y - x inside the range and y outside of it.
"""

from __future__ import annotations

from typing import Any

import torch

from seatrial.quantize.scales import BIAS_MAX, SCALE_MIN
from seatrial.results import QdqDialect


class FakeQuantize(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed
    """One step and one zero point for a whole tensor; both learnable through ``log_step``."""

    @staticmethod
    def forward(ctx: Any, x: Any, log_step: Any, zero: int, limits: tuple[int, int]) -> Any:
        """Round and clip to the integer limits."""
        low, high = limits
        step = log_step.exp()
        y = torch.fake_quantize_per_tensor_affine(
            x, step, torch.tensor(zero, dtype=torch.int32), low, high
        )
        ctx.save_for_backward(x, y, step)
        ctx.limits = (low - zero, high - zero)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, Any, None, None]:
        """Straight through inside the range; what is clipped pulls at the step."""
        x, y, step = ctx.saved_tensors
        low, high = ctx.limits
        inside = (x >= (low - 0.5) * step) & (x <= (high + 0.5) * step)
        passed = grad * inside
        learnt = None
        if ctx.needs_input_grad[1]:
            learnt = (grad * y - passed * x).sum().reshape(())
        return passed, learnt, None, None


def weight_steps(
    weight: Any, axis: int | None, dialect: QdqDialect, bias: Any = None, input_step: Any = None
) -> Any:
    """Steps of a weight, as :func:`seatrial.quantize.scales.weight_scale` will choose them.

    Args:
        weight: float tensor.
        axis: channel axis; ``None``: one step for all.
        dialect: the form of the weights.
        bias: shape (channels,), if it will be int32.
        input_step: step of the activation that meets the weight.

    Returns:
        float32, shape (channels,) or ().
    """
    with torch.no_grad():
        size = weight.abs()
        others = [k for k in range(weight.ndim) if k != axis]
        peak = size.max() if axis is None else size.amax(dim=others) if others else size
        step = peak.double() / (63 if dialect.reduce_range else 127)
        most = step.max()
        step = torch.where(step > 0, step, most if most > 0 else torch.ones_like(most))
        if bias is not None and input_step is not None:
            need = bias.abs().double() / (BIAS_MAX * float(input_step))
            step = torch.maximum(step, need if axis is not None else need.max())
        return step.clamp_min(SCALE_MIN).float()


def fake_weight(weight: Any, steps: Any, axis: int | None, dialect: QdqDialect) -> Any:
    """A weight as its integers will read; the gradient passes straight through."""
    limit = 63 if dialect.reduce_range else 127
    if steps.ndim and axis is not None:
        zeros = torch.zeros(len(steps), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, steps, zeros, axis, -limit, limit)
    zero = torch.zeros((), dtype=torch.int32)
    return torch.fake_quantize_per_tensor_affine(weight, steps, zero, -limit, limit)


def fake_bias(bias: Any, steps: Any) -> Any:
    """A bias as its int32 form will read, in the bias's shape; the gradient passes through."""
    with torch.no_grad():
        rounded = (torch.round(bias.double() / steps.double()) * steps.double()).float()
    return bias + (rounded - bias).detach()
