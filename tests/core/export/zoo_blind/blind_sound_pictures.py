"""Blind half of the zoo: picture networks that look suspicious and are sound."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from zoo import Case, images


class Net(nn.Sequential):
    """Layers in a row whose input is called x."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


def start(module: nn.Module) -> nn.Module:
    """Eval mode, weights that keep the signal alive, norms with statistics as after training."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and not hasattr(layer, "parametrizations"):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return module.eval()


def conv(a: int, b: int, kernel: int = 3, **more) -> nn.Conv2d:
    return nn.Conv2d(a, b, kernel, padding=kernel // 2, **more)


def head(width: int, classes: int = 10) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.a, self.na = conv(width, width, bias=False), nn.BatchNorm2d(width)
        self.b, self.nb = conv(width, width, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.na(self.a(x)), inplace=True)
        return F.relu_(self.nb(self.b(y)).mul_(0.5).add_(x))


def deep_resnet():
    """Activations grow with depth: large numbers, large absolute rounding."""
    torch.manual_seed(101)
    width = 4 * random.Random(101).randint(3, 6)
    blocks = [Residual(width) for _ in range(20)]
    return start(Net(conv(3, width), nn.ReLU(True), *blocks, *head(width)))


def sixty_layers():
    torch.manual_seed(102)
    layers = [conv(3, 12)]
    for _ in range(60):
        layers += [conv(12, 12), nn.LeakyReLU(0.1)]
    return start(Net(*layers, *head(12)))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.a, self.b = conv(width, 4, 1), conv(4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.b(F.relu(self.a(F.adaptive_avg_pool2d(x, 1)))))


def mobile():
    """Depthwise convolutions, group norm, hard-swish, squeeze and excite, dropout at rest."""
    torch.manual_seed(103)
    layers = [conv(3, 16, stride=2)]
    for kernel in (3, 5, 3):
        layers += [conv(16, 48, 1), nn.GroupNorm(6, 48), nn.Hardswish(inplace=True)]
        layers += [conv(48, 48, kernel, groups=48), nn.GroupNorm(8, 48), SqueezeExcite(48)]
        layers += [conv(48, 16, 1), nn.Dropout2d(0.5)]
    return start(Net(*layers, *head(16)))


def super_resolution():
    """Fully convolutional, both sizes of the picture are free."""
    torch.manual_seed(104)
    body = [conv(3, 24, 5), nn.PReLU(24), conv(24, 24), nn.PReLU(24)]
    return start(Net(*body, conv(24, 27), nn.PixelShuffle(3)))


def any_size():
    torch.manual_seed(105)
    body = [conv(3, 20), nn.BatchNorm2d(20), nn.ReLU(), nn.MaxPool2d(2), conv(20, 20), nn.ELU()]
    return start(Net(*body, *head(20)))


def weight_normed():
    torch.manual_seed(106)
    layers = [weight_norm(conv(3, 18)), nn.Softplus()]
    for _ in range(3):
        layers += [weight_norm(conv(18, 18)), nn.Softplus()]
    with torch.no_grad():
        for layer in layers[::2]:
            layer.parametrizations.weight.original0.mul_(3)
    return start(Net(*layers, *head(18)))


class Recurrent(nn.Module):
    """One convolution called many times from a python loop over constants."""

    def __init__(self):
        super().__init__()
        self.lift, self.step = conv(3, 14), conv(14, 14)
        self.norm = nn.GroupNorm(7, 14)
        self.out = nn.Sequential(*head(14))
        self.rates = [0.5 / (1 + i) for i in range(5)]

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 3 and not self.training:
            x = self.lift(x)
        for i, rate in enumerate(self.rates):
            x = x + rate * self.norm(self.step(x)) if i % 2 else self.step(F.gelu(x))
        return self.out(x)


def recurrent():
    torch.manual_seed(107)
    return start(Recurrent())


class WhereGate(nn.Module):
    """A choice by the data that stays in the graph, and a NaN that never gets out."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 12), conv(12, 12), conv(12, 12, 1)
        self.out = nn.Sequential(*head(12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = torch.where(x.mean((1, 2, 3), keepdim=True) > 0, self.b(x), -self.c(x))
        x = torch.where(x > 1, torch.log(x), x - 1)
        return self.out(x)


def where_gate():
    torch.manual_seed(108)
    return start(WhereGate())


class SafeScale(nn.Module):
    """Meets black pictures, and has an epsilon for them."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(conv(3, 10), nn.CELU(), conv(10, 10), nn.CELU(), *head(10))

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean((2, 3), keepdim=True)
        return self.net(x / (x.abs().amax((1, 2, 3), keepdim=True) + 1e-3))


def safe_scale():
    torch.manual_seed(109)
    return start(SafeScale())


class Pyramid(nn.Module):
    """Three outputs of different sizes; steps in place on temporaries of its own."""

    def __init__(self):
        super().__init__()
        self.stem, self.low, self.high = conv(3, 16), conv(16, 16, stride=2), conv(16, 16, stride=2)
        self.box, self.cls = conv(16, 4, 1), conv(16, 5, 1)

    def forward(self, x: Tensor):
        a = self.stem(x).relu_()
        b = self.low(a).relu_()
        c = self.high(b).relu_()
        b += F.interpolate(c, scale_factor=2.0, mode="nearest")
        a[:, :4] *= 0.5
        return self.box(b).exp(), self.cls(b).sigmoid(), a.amax((2, 3))


def pyramid():
    torch.manual_seed(110)
    return start(Pyramid())


def shy():
    """Answers differ in the third digit only: nearly, but not, a constant."""
    torch.manual_seed(111)
    net = start(Net(conv(3, 16), nn.Tanh(), conv(16, 16), nn.Tanh(), *head(16)))
    with torch.no_grad():
        net[-1].weight.mul_(0.05)
    return Net(net, nn.Sigmoid()).eval()


def dead_channels():
    """Norms with a weight and a variance of zero, as pruning leaves them."""
    torch.manual_seed(112)
    net = start(Net(conv(3, 32), nn.BatchNorm2d(32), nn.ReLU6(), *head(32)))
    with torch.no_grad():
        net[1].weight[::3] = 0
        net[1].running_var[::3] = 0
    return net


def black_and_white(n: int):
    feeds = images(n, 3, 24, 24, seed=109)
    feeds["x"][1::3] = 0
    feeds["x"][2::3] = 1
    return feeds


def case(name: str, side: int, axes: tuple[int, ...] = (), **more) -> Case:
    more.setdefault("inputs", lambda n: images(n, 3, side, side, seed=len(name)))
    return Case(
        name=name, factory=name.replace("-", "_"), dynamic={"x": axes} if axes else {}, **more
    )


CASES = [
    case("deep-resnet", 24, (0,)),
    case("sixty-layers", 16, (0,)),
    case("mobile", 32, (0,)),
    case("super-resolution", 20, (0, 2, 3)),
    case("any-size", 28, (0, 2, 3)),
    case("weight-normed", 20, (0,)),
    case("recurrent", 16, (0,)),
    case("where-gate", 20, (0,), note="a NaN inside, finite outside"),
    case("safe-scale", 24, (0,), inputs=black_and_white),
    case("pyramid", 32, (0,), note="outputs of three shapes"),
    case("shy", 16, (0,), note="a small but real spread of the answers"),
    case("dead-channels", 20),
]
