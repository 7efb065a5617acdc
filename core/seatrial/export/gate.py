r"""The parity rule: does the exported model compute what the module computes? numpy only.

Two float32 programs of one function differ by rounding. How much, depends on the net: a fixed
1e-5 is alarm enough for a deep net whose own rounding error is larger, and blind for a shallow
one. The yardstick is therefore the module's own error: the same module, the same samples, in
float64. With ``y`` the float64 output of one sample and ``s = max|y|`` its scale,

    own = max |torch32 - y| / s        error = max |onnx - y| / s

and an output passes when ``error <= KERNELS * own + FLOOR`` over all samples. The yardstick is
taken on :data:`MEASURED` of them; of the others ``|onnx - torch32|`` stands for the error, which is
at most ``own`` larger or smaller.

``KERNELS`` = 16: the errors of two summation orders of one sum are both within
lambda sqrt(n) u (Higham and Mary 2019, A new approach to probabilistic rounding error analysis),
but blocked kernels stay below it by up to the square root of the block length; 256 is a long
block. ``FLOOR`` = 16 u = 2**-20: where the module happens to be exact, the other runtime may still
round a few operations, its exp, tanh and erf among them, to a few units in the last place.
Without float64 (``ulp``) the module is run once more with all weights and inputs moved by half a
unit in the last place (Monte Carlo arithmetic, Parker 1997, with one sample), and the change is
the yardstick. With neither, the bound of the layout proof is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from seatrial.export.parity_records import FAIL, NOT_PROVEN, PASS, OutputParity
from seatrial.layout.compare import TOLERANCE

KERNELS = 16.0
FLOOR = 2.0**-20
#: Own error of a module above which float32 outputs tell nothing about equality: 2**-8 of scale.
HOPELESS = 2.0**-8
#: The customary threshold; the share of elements beyond it is reported, it decides nothing.
CUSTOMARY = 1e-5


#: The yardstick is taken on so many samples, evenly spread: float64 is slow, and the largest of 24
#: rounding errors is within a small factor of the largest of 100, far below ``KERNELS``.
MEASURED = 24


def measured(count: int) -> tuple[int, ...]:
    """Positions of the samples that the yardstick is taken on, first and last among them."""
    if count <= MEASURED:
        return tuple(range(count))
    return tuple(round(k * (count - 1) / (MEASURED - 1)) for k in range(MEASURED))


@dataclass
class Tally:
    """Running comparison of one output; ``judged`` of its elements have a yardstick."""

    output: str
    yardstick: str
    max_abs: float = 0.0
    max_rel: float = 0.0
    error: float = 0.0
    own: float = 0.0
    beyond: int = 0
    elements: int = 0
    judged: int = 0
    worst: str = ""
    worst_index: int = -1
    nonfinite: int = 0
    nonfinite_torch: int = 0
    nan: int = 0
    misplaced: str = ""
    integers: bool = False
    flips: int = 0
    own_flips: int = 0
    first: dict[str, Any] = field(default_factory=dict)
    varies: dict[str, bool] = field(default_factory=lambda: {"torch": False, "onnx": False})
    n: int = 0

    def add(self, i: int, name: str, torch: Any, onnx: Any, exact: Any = None) -> None:
        """Take in one sample: the module's output, the exported model's, the yardstick's."""
        import numpy as np

        torch, onnx = np.asarray(torch), np.asarray(onnx)
        self.n += 1
        self._vary("torch", torch)
        self._vary("onnx", onnx)
        if torch.shape != onnx.shape:
            self.misplaced = self.misplaced or (
                f"shape {list(onnx.shape)} instead of {list(torch.shape)}"
            )
            self._worst(i, name, float("inf"))
            return
        if exact is not None and np.shape(exact) != torch.shape:
            exact = None
        self.elements += torch.size
        self.judged += torch.size if exact is not None else 0
        if torch.dtype.kind not in "fc":
            self._whole(i, name, torch, onnx, exact)
            return
        self._real(i, name, torch, onnx, exact)

    def _vary(self, side: str, value: Any) -> None:
        import numpy as np

        if side not in self.first:
            self.first[side] = np.array(value)
        elif not np.array_equal(self.first[side], value, equal_nan=value.dtype.kind in "fc"):
            self.varies[side] = True

    def _whole(self, i: int, name: str, torch: Any, onnx: Any, exact: Any) -> None:
        """Integers and flags: counted, not measured."""
        import numpy as np

        self.integers = True
        wrong = int((torch != onnx).sum())
        self.flips += wrong
        self.own_flips += int((torch != np.asarray(exact)).sum()) if exact is not None else 0
        if wrong:
            gap = np.abs(torch.astype(np.float64) - onnx.astype(np.float64)).max()
            self.max_abs = max(self.max_abs, float(gap))
            self._worst(i, name, wrong / torch.size)

    def _real(self, i: int, name: str, torch: Any, onnx: Any, exact: Any) -> None:
        import numpy as np

        wide = np.complex128 if torch.dtype.kind == "c" else np.float64
        a, b = torch.astype(wide), onnx.astype(wide)
        finite = np.isfinite(a) & np.isfinite(b)
        self.nonfinite += int((~np.isfinite(b)).sum())
        self.nonfinite_torch += int((~np.isfinite(a)).sum())
        self.nan += int(np.isnan(a).sum() + np.isnan(b).sum())
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            self.misplaced = self.misplaced or "infinite or NaN in other places than in the module"
            self._worst(i, name, float("inf"))
        truth = a if exact is None else np.asarray(exact, wide)
        if exact is not None:
            finite &= np.isfinite(truth)
        if not finite.any():
            return
        scale = float(np.abs(truth[finite]).max()) or 1.0
        gap = np.abs(a[finite] - b[finite])
        self.max_abs = max(self.max_abs, float(gap.max()))
        self.beyond += int((gap / scale > CUSTOMARY).sum())
        self._worst(i, name, float(gap.max()) / scale)
        own = float(np.abs(a[finite] - truth[finite]).max()) / scale
        self.own = max(self.own, own)
        reference = truth if self.yardstick == "fp64" and exact is not None else a
        self.error = max(self.error, float(np.abs(b[finite] - reference[finite]).max()) / scale)

    def _worst(self, i: int, name: str, relative: float) -> None:
        if relative > self.max_rel or self.worst_index < 0:
            self.max_rel, self.worst, self.worst_index = relative, name, i

    @property
    def allowed(self) -> float:
        """The largest scale-aware error that passes."""
        if self.integers:
            return 4.0 * self.own_flips / max(self.judged, 1)
        return KERNELS * self.own + FLOOR if self.yardstick else TOLERANCE

    def result(self, *, others_vary: bool) -> OutputParity:
        """The verdict on this output.

        Args:
            others_vary: some output of the module varies over the samples.
        """
        gate, reason = self._judge(others_vary)
        known = self.max_rel != float("inf")
        return OutputParity(
            output=self.output,
            gate=gate,
            reason=reason,
            max_abs=self.max_abs if known else None,
            max_rel=self.max_rel if known else None,
            beyond=self.beyond / max(self.elements, 1),
            own=self.own if self.yardstick else None,
            allowed=self.allowed,
            worst=self.worst,
            worst_index=self.worst_index,
            nonfinite=self.nonfinite,
            nonfinite_torch=self.nonfinite_torch,
            constant=self.n > 1 and not self.varies["onnx"],
            n=self.n,
        )

    def _judge(self, others_vary: bool) -> tuple[str, str]:
        wrong = self._wrong(others_vary)
        if wrong:
            return FAIL, wrong
        if self.integers:
            return self._judge_whole()
        if self.error > self.allowed:
            return FAIL, self._explain("exceeds")
        if self.yardstick and self.own > HOPELESS:
            return NOT_PROVEN, (
                f"the module's own rounding error is {self.own:.1e} of its scale: "
                "float32 cannot tell whether the two are equal"
            )
        return PASS, self._explain("is within")

    def _wrong(self, others_vary: bool) -> str:
        """What no tolerance excuses."""
        if self.misplaced:
            return self.misplaced
        if self.nan:
            return f"{self.nan} NaN in the module's or the exported model's output"
        if not self.elements:
            return "the output is empty"
        if self.n > 1 and not self.varies["onnx"]:
            if self.varies["torch"]:
                return "the exported model gives the same output for every sample"
            if not others_vary:
                return "the output is the same for every sample"
        return ""

    def _judge_whole(self) -> tuple[str, str]:
        share = self.flips / max(self.elements, 1)
        if share > self.allowed:
            return FAIL, f"{self.flips} of {self.elements} whole numbers differ"
        return PASS, "equal" if not self.flips else f"{self.flips} differ, as rounding alone does"

    def _explain(self, verb: str) -> str:
        if not self.yardstick:
            return f"error {self.error:.1e} of scale {verb} {self.allowed:.1e} (no yardstick)"
        return (
            f"error {self.error:.1e} of scale {verb} {self.allowed:.1e} = "
            f"{KERNELS:g} x own rounding {self.own:.1e} + {FLOOR:.1e}"
        )


def overall(parts: Iterable[OutputParity]) -> str:
    """The worst gate; without outputs nothing is proven."""
    gates = {p.gate for p in parts}
    return next((g for g in (FAIL, NOT_PROVEN, PASS) if g in gates), FAIL)
