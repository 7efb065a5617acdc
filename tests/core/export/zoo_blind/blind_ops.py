"""Blind half of the zoo: operators nobody translates, wrong translations, and broken numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from onnxscript import opset18 as op
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


@torch.library.custom_op("zoo_blind::swirl", mutates_args=())
def swirl(x: Tensor, turns: int) -> Tensor:
    return torch.cos(turns * x) * x


@torch.library.custom_op("zoo_blind::deform", mutates_args=())
def deform(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """Stand-in of a deformable convolution: x (n, c, h, w), offset (n, 2, h, w) in pixels."""
    n, _, h, w = x.shape
    eye = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(n, 2, 3)
    grid = F.affine_grid(eye, [n, 1, h, w], align_corners=False)
    moved = grid + offset.permute(0, 2, 3, 1) * torch.tensor([2 / w, 2 / h])
    return F.conv2d(F.grid_sample(x, moved, align_corners=False), weight)


@torch.library.custom_op("zoo_blind::nms", mutates_args=())
def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Stand-in of non-maximum suppression: boxes (m, 4) -> kept rows (k,), k by the data."""
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    overlap = common / (area[:, None] + area[None] - common)
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if all(overlap[i, j] <= threshold for j in kept):
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


@torch.library.custom_op("zoo_blind::floor_div", mutates_args=())
def floor_div(x: Tensor, by: int) -> Tensor:
    return torch.div(x, by, rounding_mode="floor")


@torch.library.custom_op("zoo_blind::wrap_pad", mutates_args=())
def wrap_pad(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="circular")


swirl.register_fake(lambda x, turns: torch.empty_like(x))
deform.register_fake(lambda x, offset, weight: x.new_empty(x.shape[0], len(weight), *x.shape[2:]))
floor_div.register_fake(lambda x, by: torch.empty_like(x))
wrap_pad.register_fake(lambda x: x.new_empty(*x.shape[:2], x.shape[2] + 2, x.shape[3] + 2))


@nms.register_fake
def _(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


def towards_zero(x, by: int):
    return op.Div(x, op.Constant(value_int=by))


def edge_pad(x):
    return op.Pad(x, op.Constant(value_ints=[0, 0, 1, 1, 0, 0, 1, 1]), mode="edge")


ROUNDS_WRONG = {torch.ops.zoo_blind.floor_div.default: towards_zero}
PADS_WRONG = {torch.ops.zoo_blind.wrap_pad.default: edge_pad}


class Swirl(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.turns = p.knob

    def forward(self, x: Tensor) -> Tensor:
        return swirl(x, self.turns)  # blame: swirl


class Deform(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.offset = nn.Conv2d(p.width, 2, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(p.width, p.width, 1, 1) / p.width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return deform(x, self.offset(x), self.weight)  # blame: deform


class Detector(nn.Module):
    """Picture (1, 3, side, side) -> rows (k, 5) of box and score; how many, the picture decides."""

    def __init__(self):
        super().__init__()
        p = plan(53)
        torch.manual_seed(53)
        self.body = nn.Sequential(nn.Conv2d(3, p.width, 3, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(p.width, 5, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.head(self.body(x))[0].flatten(1).t()
        corner, size = rows[:, :2] * 4, rows[:, 2:4].exp() + 1
        boxes = torch.cat([corner, corner + size], 1)
        kept = nms(boxes, rows[:, 4], 0.3)  # blame: detector
        return torch.cat([boxes, rows[:, 4:]], 1)[kept]


class Bins(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.by = p.knob

    def forward(self, x: Tensor) -> Tensor:
        level = torch.round(x * 40).to(torch.int64)
        return floor_div(level, self.by).to(x.dtype) / 10  # blame: bins


class Torus(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.conv = nn.Conv2d(p.width, p.width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(wrap_pad(x))  # blame: torus


class Whiten(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.register_buffer("ridge", 0.1 * torch.eye(p.width))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2) - x.flatten(2).mean(2, keepdim=True)
        cov = flat @ flat.transpose(1, 2) / flat.shape[2] + self.ridge
        values, vectors = torch.linalg.eigh(cov)  # blame: whiten
        root = vectors * values.rsqrt().unsqueeze(1) @ vectors.transpose(1, 2)
        return (root @ flat).reshape(x.shape)


class ToneCurve(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.knots = np.linspace(-2, 2, p.knob + 2)

    def forward(self, x: Tensor) -> Tensor:
        y = np.interp(x.detach().numpy(), self.knots, np.sin(self.knots * 3))  # blame: tone-curve
        return torch.from_numpy(y.astype(np.float32))


class TiedTop(nn.Module):
    """The best pixels by a coarse score: equals, ranked by chance and not by index."""

    def __init__(self, p: Plan):
        super().__init__()
        self.score = nn.Conv2d(p.width, 1, 1)
        self.k = p.side
        self.ramp = nn.Parameter(torch.randn(p.side * p.side))

    def forward(self, x: Tensor) -> Tensor:
        coarse = torch.round(self.score(x).flatten(1) * 0.5)
        best = coarse.topk(self.k).indices  # blame: tied-top
        return x + 3 * self.ramp[best].mean(1)[:, None, None, None]


class LogOfAnything(nn.Module):
    """Some pictures have a mean below the floor, most do not."""

    def __init__(self, p: Plan):
        super().__init__()
        self.floor = 0.155 * p.knob

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.log(x.mean((1, 2, 3), keepdim=True) - self.floor)  # blame: log-of-anything


class PeakScale(nn.Module):
    """0/0 on a black picture, which calibration pictures seldom hold and cameras often send."""

    def __init__(self):
        super().__init__()
        self.net = grow(60, lambda p: nn.Hardswish())

    def forward(self, x: Tensor) -> Tensor:
        x = x / x.abs().amax((1, 2, 3), keepdim=True)  # blame: peak-scale
        return self.net(x)


class NaiveSoftmax(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.key = nn.Conv2d(p.width, 1, 1)
        self.gain = 3.4 * p.knob

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.exp(self.gain * self.key(x))
        return x * (weight / weight.sum((2, 3), keepdim=True))  # blame: naive-softmax


class DeadEnd(nn.Module):
    def __init__(self, p: Plan):
        super().__init__()
        self.bias = nn.Parameter(torch.full((p.width, 1, 1), -1000.0))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bias)  # blame: dead-end


class Certain(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = grow(63, lambda p: nn.Mish())
        self.head = nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(self.head(self.net(x)), dim=1)  # blame: certain


def swirled():
    return grow(51, Swirl)


def deformed():
    return grow(52, Deform)


def detector():
    return Detector().eval()


def bins():
    return grow(54, Bins)


def torus():
    return grow(55, Torus)


def whiten():
    return grow(56, Whiten)


def tone_curve():
    return grow(57, ToneCurve)


def tied_top():
    return grow(58, TiedTop)


def log_of_anything():
    return grow(59, LogOfAnything)


def peak_scale():
    return PeakScale().eval()


def naive_softmax():
    return grow(61, NaiveSoftmax)


def dead_end():
    return grow(62, DeadEnd)


def certain():
    return Certain().eval()


def some_black(n: int):
    """Pictures of which every third, from the second on, is all zero."""
    feeds = pictures(60)(n)
    feeds["x"][1::3] = 0
    return feeds


def case(seed: int, tag: str, kind: str, factory: str = "", **more) -> Case:
    more.setdefault("inputs", pictures(seed))
    factory = factory or tag.replace("-", "_")
    return Case(name=tag, factory=factory, kind=kind, expect_line=blame(tag), **more)


FREE = {"x": (0,)}
OP, WRONG, NUMBERS, SAME = "custom operator", "wrong node", "non-finite", "constant output"

CASES = [
    case(51, "swirl", OP, "swirled", dynamic=FREE),
    case(52, "deform", OP, "deformed", dynamic=FREE),
    case(53, "detector", OP, note="one picture at a time; the number of rows depends on it"),
    case(54, "bins", WRONG, dynamic=FREE, translations="ROUNDS_WRONG", note="floor, not truncate"),
    case(55, "torus", WRONG, translations="PADS_WRONG", note="only the border is wrong"),
    case(56, "whiten", OP, note="an eigenvalue problem, for which there is no operator"),
    case(57, "tone-curve", "data-dependent control flow", note="numpy in forward"),
    case(58, "tied-top", "tie breaking", dynamic=FREE, note="the lower index does not win here"),
    case(59, "log-of-anything", NUMBERS, dynamic=FREE),
    case(60, "peak-scale", NUMBERS, inputs=some_black, note="only black pictures"),
    case(61, "naive-softmax", NUMBERS, note="inf/inf for bright pictures"),
    case(62, "dead-end", SAME, dynamic=FREE),
    case(63, "certain", SAME, dynamic=FREE, note="a softmax over one class"),
]
