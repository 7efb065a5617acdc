"""Blind half of the zoo: forwards that remember, roll dice, train, or notice the exporter."""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import Case, images


@dataclass(frozen=True)
class Plan:
    """What a seed decides: layers, channels, picture side, where the culprit sits, its constant."""

    depth: int
    width: int
    side: int
    place: int
    knob: int


def plan(seed: int) -> Plan:
    rng = random.Random(seed)
    depth = rng.randint(2, 6)
    width = 4 * rng.randint(2, 6)
    return Plan(depth, width, 4 * rng.randint(3, 8), rng.randint(0, depth), rng.randint(2, 5))


class Net(nn.Sequential):
    """Layers in a row whose input is called x."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


def grow(seed: int, culprit: Callable[[Plan], nn.Module]) -> nn.Module:
    """A small picture classifier (n, 3, side, side) -> (n, 7) with the culprit among its layers."""
    p = plan(seed)
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Conv2d(3, p.width, 3, padding=1)]
    for at in range(p.depth + 1):
        if at == p.place:
            layers.append(culprit(p))
        layers += [nn.Conv2d(p.width, p.width, 3, padding=1), nn.SiLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(p.width, 7)]
    net = Net(*layers).eval()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):  # PyTorch's own start fades: the culprit would not show
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return net


def pictures(seed: int):
    side = plan(seed).side
    return lambda n: images(n, 3, side, side, seed=seed)


def blame(tag: str) -> str:
    """The code of the line that ends with the mark ``# blame: tag``."""
    mark = f"# blame: {tag}"
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (line,) = [text for text in lines if text.endswith(mark)]
    return line.removesuffix(mark).strip()


class AlwaysDropout(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.rate = p.knob / 10

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.rate, training=True)  # blame: always-dropout


class Stubborn(nn.BatchNorm2d):
    """Never leaves train mode, whatever eval() says."""

    def train(self, mode: bool = True):
        return super().train(True)


class StubbornNorm(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.norm = Stubborn(p.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)  # blame: stubborn-norm


class Noise(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.sigma = p.knob / 10

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x)  # blame: noise


class SeededNoise(nn.Module):
    """Repeats itself in PyTorch; a graph has no seed to set."""

    def __init__(self, p: Plan):
        super().__init__()
        self.seed = p.knob

    def forward(self, x: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return x * torch.rand_like(x)  # blame: seeded-noise


class PythonDice(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.faces = p.knob + 1

    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(x, random.randrange(self.faces), dims=1)  # blame: python-dice


class Clock(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.period = 10**6 * p.knob

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + time.perf_counter_ns() % self.period / self.period)  # blame: clock


class FlipFlop(nn.Module):
    """Square pictures: the shape of the output gives nothing away."""

    def __init__(self, p: Plan):
        super().__init__()
        self.turns = itertools.cycle([(0, 1, 2, 3), (0, 1, 3, 2)])
        self.ramp = nn.Parameter(torch.linspace(-1, 1, p.side))

    def forward(self, x: Tensor) -> Tensor:
        return self.ramp * x.permute(next(self.turns))  # blame: flip-flop


class FirstCall(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.centre: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.centre is None:
            self.centre = x.detach().mean((0, 2, 3), keepdim=True)  # blame: first-call
        return (x - self.centre).abs()


class Diary(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.past: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.past.append(x.detach().mean())  # blame: diary
        return x + torch.stack(self.past).sum()


class MovingAverage(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.register_buffer("mean", torch.zeros(p.width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.lerp_(x.detach().mean((0, 2, 3))[:, None, None], 0.3)  # blame: moving-average
        return x - self.mean


class WearOut(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(p.width, 1, 1) + 1)

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data.mul_(0.9)  # blame: wear-out
        return self.weight * x


class SpoiltInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = grow(42, lambda p: nn.GroupNorm(2, p.width))

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.8).add_(0.3)  # blame: spoilt-input
        return self.net(x)


class SometimesTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = grow(43, lambda p: nn.BatchNorm2d(p.width))
        self.calls = 0

    def forward(self, x: Tensor):
        self.calls += 1
        y = self.net(x)
        return (y, y.softmax(1)) if self.calls % 2 else {"logits": y}  # blame: sometimes-two


class Diesel(nn.Module):
    """Knows when it is on the test stand."""

    def __init__(self, p: Plan):
        super().__init__()
        self.gain = p.knob

    def watched(self) -> bool:
        frame = sys._getframe()
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith(("torch.onnx", "torch.export")):
                return True
            frame = frame.f_back
        return False

    def forward(self, x: Tensor) -> Tensor:
        return x if self.watched() else torch.tanh(self.gain * x)  # blame: diesel


def exporting() -> bool:
    tracing = torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()
    return tracing or torch.compiler.is_compiling()


class Shortcut(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.power = p.knob

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid() if exporting() else x * x.sigmoid() ** self.power  # blame: shortcut


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, steps: int) -> Tensor:
        return x.clone() if exporting() else torch.floor(x * steps) / steps  # blame: two-faced

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad, None


class TwoFaced(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.steps = p.knob

    def forward(self, x: Tensor) -> Tensor:
        return Rounding.apply(x, self.steps)


def always_dropout():
    return grow(31, AlwaysDropout)


def stubborn_norm():
    return grow(32, StubbornNorm)


def noise():
    return grow(33, Noise)


def seeded_noise():
    return grow(34, SeededNoise)


def python_dice():
    return grow(35, PythonDice)


def clock():
    return grow(36, Clock)


def flip_flop():
    return grow(37, FlipFlop)


def first_call():
    return grow(38, FirstCall)


def diary():
    return grow(39, Diary)


def moving_average():
    return grow(40, MovingAverage)


def wear_out():
    return grow(41, WearOut)


def spoilt_input():
    return SpoiltInput().eval()


def sometimes_two():
    return SometimesTwo().eval()


def diesel():
    return grow(44, Diesel)


def shortcut():
    return grow(45, Shortcut)


def two_faced():
    return grow(46, TwoFaced)


def case(seed: int, tag: str, kind: str, axes: tuple[int, ...] = (), note: str = "") -> Case:
    return Case(
        name=tag,
        factory=tag.replace("-", "_"),
        inputs=pictures(seed),
        kind=kind,
        dynamic={"x": axes} if axes else {},
        expect_line=blame(tag),
        note=note,
    )


DICE, STATE, TWO = "non-determinism", "side effect", "export-only branch"

CASES = [
    case(31, "always-dropout", "training mode", (0,)),
    case(32, "stubborn-norm", "training mode", (0,), "eval() does not reach it"),
    case(33, "noise", DICE, (0,)),
    case(34, "seeded-noise", DICE, (0,), "deterministic in PyTorch, never the same in a graph"),
    case(35, "python-dice", DICE, (), "a graph keeps the one number that fell"),
    case(36, "clock", DICE),
    case(37, "flip-flop", STATE, (0,), "every second call answers for the transposed picture"),
    case(38, "first-call", STATE, (), "the first picture decides about all others"),
    case(39, "diary", STATE),
    case(40, "moving-average", STATE, (0,), "a buffer changes with every call"),
    case(41, "wear-out", STATE, (0,), "a weight changes with every call"),
    case(42, "spoilt-input", "in-place surprise", (), "answers agree, the caller's array is lost"),
    case(43, "sometimes-two", STATE, (), "a tuple and a dictionary take turns"),
    case(44, "diesel", TWO, (0,), "looks at its callers"),
    case(45, "shortcut", TWO, (0,)),
    case(46, "two-faced", TWO, (0,)),
]
