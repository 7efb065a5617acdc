"""Which way to round each weight of a layer, from second moments of its inputs. numpy only.

The outputs of a layer with inputs x, float weights w and integers q of step s are off by
(s q - w) x, less what the layers before it already put in. With r the residual that is wanted on
top of w x (the float model's output less w times the quantised input) the mean squared error of
one output channel is, e = s q - w,

    e' H e - 2 e' c + const,    H = cov(x),  c = cov(x, r),

the objective of adaptive rounding before its relaxation (Nagel et al. 2020, "Up or down? Adaptive
rounding for post-training quantization", equation 13, with the asymmetric target of its section
3.4). Here it is lowered over the integers one coordinate at a time, all channels at once: with the
others fixed, the best q_j is known in closed form. From nearest rounding on the error only falls,
in a fixed number of sweeps, without learning rates or random numbers. Means are left out: bias
correction matches them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Sweeps over all weights of a layer; it ends sooner when nothing moves.
SWEEPS = 6

#: Columns that are updated one by one before the others hear of it.
BLOCK = 64

#: Added to the diagonal, as a share of its mean: a weight whose input hardly varies stays put.
RIDGE = 0.03


@dataclass
class Moments:
    """Running second moments of a layer's inputs and of what its outputs lack.

    Args:
        groups: independent parts of the layer.
        inputs: of one group.
        outputs: of one group.
    """

    groups: int
    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        import numpy as np

        g, d, o = self.groups, self.inputs, self.outputs
        self.count = 0
        self.shift: Any = None  # first means, so that sums of squares do not cancel
        self.x = np.zeros((g, d), np.float32)
        self.r = np.zeros((g, o), np.float32)
        self.xx = np.zeros((g, d, d), np.float32)
        self.xr = np.zeros((g, d, o), np.float32)
        self.rr = np.zeros((g, o), np.float32)

    def add(self, x: Any, r: Any) -> None:
        """Take in rows: ``x`` (groups, rows, inputs) and ``r`` (groups, rows, outputs)."""
        if self.shift is None:
            self.shift = x.mean(1, keepdims=True), r.mean(1, keepdims=True)
        x, r = x - self.shift[0], r - self.shift[1]
        across = x.transpose(0, 2, 1)
        self.count += x.shape[1]
        self.x += x.sum(1)
        self.r += r.sum(1)
        self.xx += across @ x
        self.xr += across @ r
        self.rr += (r * r).sum(1)

    @property
    def means(self) -> tuple[Any, Any]:
        """Mean inputs (groups, inputs) and mean residuals (groups, outputs)."""
        n = max(self.count, 1)
        return self.x / n + self.shift[0][:, 0], self.r / n + self.shift[1][:, 0]

    def centred(self) -> tuple[Any, Any, Any]:
        """Covariances: (g, d, d), (g, o, d) and the residual's variance (g, o)."""
        n = max(self.count, 1)
        x, r = self.x / n, self.r / n
        xx = self.xx / n - x[:, :, None] * x[:, None, :]
        xr = self.xr / n - x[:, :, None] * r[:, None, :]
        return xx, xr.transpose(0, 2, 1), self.rr / n - r * r


def loss(error: Any, moments: tuple[Any, Any, Any]) -> Any:
    """Mean squared error of each output, shape (groups, outputs).

    Args:
        error: quantised less float weights, shape (groups, outputs, inputs).
        moments: from :meth:`Moments.centred`.
    """
    import numpy as np

    xx, xr, rr = moments
    square = ((error @ xx - 2 * xr) * error).sum(2)
    return np.maximum(square + rr, 0.0)


def descend(integers: Any, weight: Any, step: Any, limit: int, moments: tuple[Any, ...]) -> Any:
    """Integers of lower error.

    Args:
        integers: to start from, shape (groups, outputs, inputs), zero point taken off.
        weight: float, same shape.
        step: of each output, shape (groups, outputs, 1).
        limit: largest magnitude of an integer.
        moments: from :meth:`Moments.centred`.

    Returns:
        New integers as float32, same shape.
    """
    import numpy as np

    xx, xr, _ = moments
    hessian = xx.copy()
    diagonal = np.einsum("gdd->gd", hessian)  # a view
    diagonal += RIDGE * diagonal.mean(1, keepdims=True) + 1e-12
    curvature = diagonal.copy()
    q, scale = integers.astype(np.float32), step[..., 0]
    low = np.clip(np.floor(weight / step), -limit, limit)
    high = np.clip(np.ceil(weight / step), -limit, limit)
    slope = xr - (q * step - weight) @ hessian  # half the negative gradient
    size = q.shape[2]
    for _ in range(SWEEPS):
        moved = 0
        for start in range(0, size, BLOCK):
            end = min(start + BLOCK, size)
            before = q[:, :, start:end].copy()
            local = slope[:, :, start:end].copy()
            block = hessian[:, start:end, start:end]
            for j in range(end - start):
                k = start + j
                wanted = q[:, :, k] + local[:, :, j] / (scale * curvature[:, k, None])
                new = np.clip(np.rint(wanted), low[:, :, k], high[:, :, k])
                change = (new - q[:, :, k]) * scale
                q[:, :, k] = new
                local -= change[:, :, None] * block[:, None, j, :]
            change = (q[:, :, start:end] - before) * step
            moved += int(np.count_nonzero(change))
            slope -= change @ hessian[:, start:end, :]
        if not moved:
            break
    return q
