"""Blind half of the zoo: values and shapes that steer the program instead of the graph."""

from __future__ import annotations

import random
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


class SumGate(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.a = nn.Conv2d(p.width, p.width, 1)
        self.b = nn.Conv2d(p.width, p.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # blame: sum-gate
            return self.a(x)
        return self.b(x).neg()


class CountLoop(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.gain = p.knob / 4

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(x.abs().amax() * self.gain)):  # blame: count-loop
            x = x + 0.2 * torch.tanh(x)
        return x


class UntilSmall(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.limit = p.knob / 20

    def forward(self, x: Tensor) -> Tensor:
        while x.square().mean() > self.limit:  # blame: until-small
            x = 0.98 * x
        return x


class ItemExpert(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.experts = nn.ModuleList(nn.Conv2d(p.width, p.width, 1) for _ in range(p.knob))

    def forward(self, x: Tensor) -> Tensor:
        pick = round(x.abs().mean().item() * 1000) % len(self.experts)  # blame: item-expert
        return self.experts[pick](x)


class PythonSort(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.width = p.width

    def forward(self, x: Tensor) -> Tensor:
        order = sorted(range(self.width), key=lambda c: float(x[:, c].mean()))  # blame: python-sort
        return x[:, order]


class SizeBranch(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.limit = p.side

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > self.limit:  # blame: size-branch
            x = F.max_pool2d(x, 2) * 3
        return x


class FixedWindow(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.mix = nn.Linear(p.side * p.side, p.side * p.side)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(x.flatten(2))  # blame: fixed-window
        return x + mixed.reshape(x.shape)


class FrozenBatch(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.batch = 1
        self.width = p.width

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.reshape(self.batch, self.width, -1, 1)  # blame: frozen-batch
        return pixels - pixels.mean(2, keepdim=True)


class LostBatch(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.fc = nn.Linear(p.width, p.width)

    def forward(self, x: Tensor) -> Tensor:
        token = F.adaptive_avg_pool2d(x, 1).squeeze()  # blame: lost-batch
        return self.fc(token)


class NeighbourSoftmax(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.gain = p.knob

    def forward(self, x: Tensor) -> Tensor:
        return x * F.softmax(self.gain * x, dim=0)  # blame: neighbour-softmax


class Shuffle(nn.Module):
    """Does nothing to a batch of one, mixes the samples of every other batch."""

    def __init__(self, p: Plan):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(p.width, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x.transpose(0, 1).reshape(x.shape)  # blame: shuffle


class BatchCentre(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.gain = p.knob

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * (x - x.mean())  # blame: batch-centre


def sum_gate():
    return grow(331, SumGate)


def count_loop():
    return grow(12, CountLoop)


def until_small():
    return grow(13, UntilSmall)


def item_expert():
    return grow(14, ItemExpert)


def python_sort():
    return grow(15, PythonSort)


def size_branch():
    return grow(16, SizeBranch)


def fixed_window():
    return grow(17, FixedWindow)


def frozen_batch():
    return grow(18, FrozenBatch)


def lost_batch():
    """The culprit is last: a batch of one leaves without its batch axis."""
    p = plan(19)
    torch.manual_seed(19)
    body = (nn.Conv2d(3, p.width, 3, padding=1), nn.GELU(), nn.Conv2d(p.width, p.width, 3))
    return Net(*body, LostBatch(p)).eval()


def neighbour_softmax():
    return grow(20, NeighbourSoftmax)


def shuffle():
    return grow(21, Shuffle)


def batch_centre():
    return grow(22, BatchCentre)


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


FLOW, SHAPE, BATCH = "data-dependent control flow", "baked-in shape", "batch coupling"

CASES = [
    case(331, "sum-gate", FLOW),
    case(12, "count-loop", FLOW, (0,)),
    case(13, "until-small", FLOW),
    case(14, "item-expert", FLOW),
    case(15, "python-sort", FLOW),
    case(16, "size-branch", SHAPE, (0, 2, 3), "larger pictures than the example take another way"),
    case(17, "fixed-window", SHAPE, (0, 2, 3), "a linear layer over the pixels fixes their number"),
    case(18, "frozen-batch", SHAPE, (0,), "n samples give one answer, from all their pixels"),
    case(19, "lost-batch", SHAPE, (0,), "rank 1 for one sample, rank 2 for more"),
    case(20, "neighbour-softmax", BATCH, (0,), "alone in its batch, a sample sees weights of 1"),
    case(21, "shuffle", BATCH, (0,), "harmless for a batch of one"),
    case(22, "batch-centre", BATCH, (0,)),
]
