"""Our own half of the zoo: ten kinds of sabotage at seeded places, ten sound modules."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from zoo import Case, images

LIBRARY = torch.library.Library("zoo_own", "DEF")
LIBRARY.define("swirl(Tensor x) -> Tensor")
LIBRARY.impl("swirl", lambda x: x * torch.sigmoid(x * 1.5), "CPU")
LIBRARY.impl("swirl", torch.empty_like, "Meta")


class Net(nn.Module):
    """A few convolutions with one odd block among them."""

    def __init__(self, odd: nn.Module, depth: int, place: int, width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        blocks = [nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.odd, self.place = odd, place
        self.head = nn.Linear(width, 7)

    def forward(self, x):
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = x + 0.3 * F.relu(block(x))
            if i == self.place:
                x = self.odd(x)
        return self.head(x.mean((2, 3)))


def net(odd: nn.Module) -> nn.Module:
    """Depth and place are drawn per kind, so that no check can rely on them."""
    draw = random.Random(type(odd).__name__)
    depth = draw.randint(2, 5)
    torch.manual_seed(depth)
    return Net(odd, depth, draw.randrange(depth)).eval()


# --- sabotaged ----------------------------------------------------------------------------------


class Branch(nn.Module):
    def forward(self, x):
        if x.mean() > 0.02:  # here: branch
            return x * 1.5
        return x


class Custom(nn.Module):
    def forward(self, x):
        return torch.ops.zoo_own.swirl(x)  # here: custom


class Counter(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (1 + 0.1 * (self.calls % 3))  # here: counter


class AlwaysDropout(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.2)  # here: dropout


class Frozen(nn.Module):
    """Tiles a table to a size that was current when the module was built."""

    def forward(self, x):
        n = x.shape[0] if x.shape[0] < 3 else 3
        return x + torch.arange(n, dtype=x.dtype).sum()  # here: frozen


class Height(nn.Module):
    """Takes its height as a number: a trace keeps that of the example."""

    def forward(self, x):
        return x * (float(x.shape[2]) / 10)  # here: height


class Dead(nn.Module):
    def forward(self, x):
        return F.relu(-x.abs() - 1)  # here: dead


class Log(nn.Module):
    def forward(self, x):
        return torch.log(x)  # here: log


class Batch(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)  # here: batch


class Memory(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen.mul_(0.9).add_(0.1 * x.mean())  # here: memory
        return x - self.seen


class WritesInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x.clamp_(-1, 1)  # here: writes input
        return self.head(x)


class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.01 * torch.from_numpy(np.random.rand(1).astype("float32"))  # here: noise


class NumpyTrip(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.sort(x.numpy(), axis=1))  # here: numpy


def branch():
    return net(Branch())


def custom():
    return net(Custom())


def counter():
    return net(Counter())


def always_dropout():
    return net(AlwaysDropout())


def left_in_training():
    made = net(nn.Dropout(0.3))
    return made.train()  # here: train


def frozen():
    return net(Frozen())


def frozen_height():
    return net(Height())


def dead():
    return net(Dead())


def log():
    return net(Log())


def batch():
    return net(Batch())


def memory():
    return net(Memory())


def writes_input():
    return WritesInput().eval()


def noisy():
    return net(Noisy())


def numpy_trip():
    return net(NumpyTrip())


# --- sound --------------------------------------------------------------------------------------


class Deep(nn.Module):
    """Sixty layers: the rounding of a deep net must not raise an alarm."""

    def __init__(self, depth: int = 60, width: int = 24) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(3 * layer(x))
        return x


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x, scale: float = 2.0):
        y = self.body(x) * scale
        return {"mask": y.argmax(1), "score": y.amax((2, 3))}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(10, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)

    def forward(self, x):
        return self.body(x).mean(1)


class Cached(nn.Module):
    """Remembers a grid per size: state, but harmless."""

    def __init__(self):
        super().__init__()
        self.grids = {}

    def forward(self, x):
        key = tuple(x.shape[2:])
        if key not in self.grids:
            rows = torch.linspace(-1, 1, key[0]).reshape(-1, 1)
            self.grids[key] = rows * torch.linspace(-1, 1, key[1])
        return F.avg_pool2d(x * self.grids[key], 2)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, ids):
        return self.norm(self.table(ids).cumsum(1)).amax(1)


class Resized(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1, groups=1)

    def forward(self, x):
        y = F.interpolate(self.body(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.where(y > 0, y, 0.1 * y).reshape(x.shape[0], -1)


def groups():
    return net(nn.Sequential(nn.GroupNorm(3, 12), nn.Hardswish()))


def instance():
    return net(nn.InstanceNorm2d(12, affine=True))


def plain():
    return net(nn.Identity())


def deep():
    return Deep().eval()


def named():
    return Named().eval()


def recurrent():
    return Recurrent().eval()


def encoder():
    return Encoder().eval()


def cached():
    return Cached().eval()


def words():
    return Words().eval()


def resized():
    return Resized().eval()


def with_dropout():
    return net(nn.Dropout(0.3))


def pictures(n):
    return images(n, 3, 14, 10)


def rows(n):
    return images(n, 8)


def wide(n):
    return images(n, 24)


def steps(n):
    return images(n, 9, 10)


def tokens(n):
    return images(n, 5, 16)


def ids(n):
    return {"ids": np.random.default_rng(0).integers(0, 50, (n, 11))}


BATCH = {"x": (0,)}
SIZES = {"x": (0, 2, 3)}

CASES = [
    Case(
        name="branch",
        factory="branch",
        inputs=pictures,
        kind="data-dependent control flow",
        expect_line="# here: branch",
    ),
    Case(
        name="custom",
        factory="custom",
        inputs=pictures,
        kind="custom operator",
        expect_line="# here: custom",
    ),
    Case(
        name="counter",
        factory="counter",
        inputs=pictures,
        kind="side effect",
        expect_line="# here: counter",
    ),
    Case(
        name="dropout",
        factory="always_dropout",
        inputs=pictures,
        kind="non-determinism",
        expect_line="# here: dropout",
    ),
    Case(
        name="training",
        factory="left_in_training",
        inputs=pictures,
        kind="training mode",
        expect_line="# here: train",
    ),
    Case(
        name="frozen",
        factory="frozen",
        inputs=pictures,
        kind="baked-in shape",
        dynamic=BATCH,
    ),
    Case(name="dead", factory="dead", inputs=pictures, kind="constant output"),
    Case(name="log", factory="log", inputs=pictures, kind="non-finite"),
    Case(name="batch", factory="batch", inputs=pictures, kind="batch coupling"),
    Case(
        name="memory",
        factory="memory",
        inputs=pictures,
        kind="in-place surprise",
        expect_line="# here: memory",
    ),
    Case(
        name="writes-input",
        factory="writes_input",
        inputs=rows,
        kind="in-place surprise",
        expect_line="# here: writes input",
    ),
    Case(
        name="noisy",
        factory="noisy",
        inputs=pictures,
        kind="non-determinism",
        expect_line="# here: noise",
    ),
    Case(
        name="numpy",
        factory="numpy_trip",
        inputs=pictures,
        kind="side effect",
        expect_line="# here: numpy",
    ),
    Case(name="group norm", factory="groups", inputs=pictures, dynamic=BATCH),
    Case(name="instance norm", factory="instance", inputs=pictures),
    Case(name="plain", factory="plain", inputs=pictures, dynamic=SIZES),
    Case(name="deep", factory="deep", inputs=wide, dynamic=BATCH),
    Case(name="named", factory="named", inputs=pictures),
    Case(name="lstm", factory="recurrent", inputs=steps, dynamic=BATCH),
    Case(name="encoder", factory="encoder", inputs=tokens, dynamic=BATCH),
    Case(name="cached", factory="cached", inputs=pictures),
    Case(name="words", factory="words", inputs=ids),
    Case(name="resized", factory="resized", inputs=pictures, dynamic=SIZES),
    Case(name="dropout in eval", factory="with_dropout", inputs=pictures),
]
