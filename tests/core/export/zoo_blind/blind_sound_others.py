"""Blind half of the zoo: sound networks over sequences, words, vectors, and several inputs."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from onnxscript import opset18 as op
from torch import Tensor, nn
from zoo import Case, images


class Net(nn.Sequential):
    """Layers in a row whose input is called x."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


@torch.library.custom_op("zoo_blind::soft_sign_gate", mutates_args=())
def soft_sign_gate(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x) + x / (1 + x.abs())


soft_sign_gate.register_fake(torch.empty_like)


def gate_translation(x):
    return op.Add(op.Mul(x, op.Sigmoid(x)), op.Softsign(x))


TABLE = {torch.ops.zoo_blind.soft_sign_gate.default: gate_translation}


class EinsumAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        weight = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
        return x + torch.einsum("bhqk,bkhd->bqhd", weight.softmax(-1), v).flatten(2)


class CausalAttention(nn.Module):
    """Minus infinity above the diagonal, a table of positions in a buffer that is not saved."""

    def __init__(self, width: int, heads: int, length: int):
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        mask = torch.full((length, length), float("-inf")).triu(1)
        angle = torch.arange(length)[:, None] / 10 ** torch.linspace(0, 3, width)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("positions", angle.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions
        k, v = self.kv(x).chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q(x), k, v))
        weight = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + self.mask
        return x + (weight.softmax(-1) @ v).transpose(1, 2).flatten(2)


class Feed(nn.Module):
    def __init__(self, width: int, approximate: str):
        super().__init__()
        self.approximate = approximate
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x)), approximate=self.approximate))


def transformer():
    torch.manual_seed(201)
    layers = []
    for i in range(random.Random(201).randint(3, 5)):
        layers += [EinsumAttention(32, 4), Feed(32, ("none", "tanh")[i % 2]), nn.Dropout(0.5)]
    return Net(*layers, nn.LayerNorm(32)).eval()


def causal():
    torch.manual_seed(202)
    layers = [CausalAttention(24, 3, 11), Feed(24, "none"), CausalAttention(24, 2, 11)]
    return Net(*layers).eval()


class TwoWays(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(9, 13, num_layers=2, bidirectional=True, batch_first=True, dropout=0.5)
        self.out = nn.Linear(26, 5)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.out(states[:, -1] + states[:, 0])


def two_ways():
    torch.manual_seed(203)
    return TwoWays().eval()


class Sharp(nn.Module):
    """Logits of hundreds: exp of them overflows, softmax of them does not."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 12))

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(300 * self.net(x), dim=-1)


def sharp():
    torch.manual_seed(204)
    return Sharp().eval()


class Words(nn.Module):
    """Integer input; row 0 of the table is padding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(97, 16, padding_idx=0)
        self.out = nn.Linear(16, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        seen = (tokens != 0).unsqueeze(-1).float()
        mean = (self.table(tokens) * seen).sum(1) / seen.sum(1).clamp(min=1)
        return self.out(torch.tanh(mean))


def words():
    torch.manual_seed(205)
    return Words().eval()


class PictureAndFacts(nn.Module):
    """Two inputs, named out of the order of the alphabet, and two outputs."""

    def __init__(self):
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(3, 12, 3, 2), nn.ReLU(), nn.Conv2d(12, 12, 3, 2))
        self.scale, self.out = nn.Linear(6, 12), nn.Linear(12, 4)

    def forward(self, picture: Tensor, facts: Tensor):
        seen = self.look(picture).mean((2, 3)) * self.scale(facts)
        return self.out(seen), F.normalize(seen, dim=1)


def picture_and_facts():
    torch.manual_seed(206)
    return PictureAndFacts().eval()


class DoubleIsland(nn.Module):
    """A sum that float32 would lose, done in float64 between float32 layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(15, 40), nn.Linear(40, 8)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.a(x).double() + 1.0e9
        return self.b((wide * 3.0 - 3.0e9).float())


def double_island():
    torch.manual_seed(207)
    return DoubleIsland().eval()


class Translated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(15, 40), nn.Linear(40, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(soft_sign_gate(self.a(x)))


def translated():
    torch.manual_seed(208)
    return Translated().eval()


def narrow_tower():
    """Sixty narrow layers: rounding adds up over a long way."""
    torch.manual_seed(209)
    layers = [nn.Linear(15, 16)]
    for _ in range(60):
        layers += [nn.Linear(16, 16), nn.Tanh()]
        nn.init.xavier_normal_(layers[-2].weight, gain=1.2)
    return Net(*layers, nn.Linear(16, 3)).eval()


class Waves(nn.Module):
    """Dilated causal convolutions over sound, gated, with strided slices and a flip."""

    def __init__(self):
        super().__init__()
        self.lift = nn.Conv1d(1, 16, 1)
        self.wide = nn.ModuleList(nn.Conv1d(16, 32, 2, dilation=2**i) for i in range(5))
        self.out = nn.Conv1d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        for layer in self.wide:
            a, b = layer(F.pad(x, (layer.dilation[0], 0))).chunk(2, dim=1)
            x = x + torch.tanh(a) * torch.sigmoid(b)
        return self.out(x[:, :, ::4]).flip(-1)


def waves():
    torch.manual_seed(210)
    return Waves().eval()


class Distances(nn.Module):
    """Log of a sum of exp over distances to fixed points, written by hand with the maximum out."""

    def __init__(self):
        super().__init__()
        self.register_buffer("points", 3 * torch.randn(9, 15))

    def forward(self, x: Tensor) -> Tensor:
        far = -50 * (x[:, None] - self.points).square().sum(-1)
        top = far.amax(1, keepdim=True)
        return far - top - (far - top).exp().sum(1, keepdim=True).log()


def distances():
    torch.manual_seed(211)
    return Distances().eval()


def vectors(width: int, seed: int):
    return lambda n: images(n, width, seed=seed)


def tokens(n: int):
    rng = np.random.default_rng(205)
    rows = rng.integers(1, 97, (n, 14))
    rows[np.arange(14) >= rng.integers(1, 15, (n, 1))] = 0
    return {"tokens": rows.astype(np.int64)}


def pairs(n: int):
    return images(n, 3, 21, 21, name="picture", seed=206) | images(n, 6, name="facts", seed=7)


def sequences(length: int, width: int, seed: int):
    return lambda n: images(n, length, width, seed=seed)


FREE = {"x": (0,)}
BOTH = {"picture": (0,), "facts": (0,)}

CASES = [
    Case(name="transformer", factory="transformer", inputs=sequences(10, 32, 1), dynamic=FREE),
    Case(name="causal", factory="causal", inputs=sequences(11, 24, 2), dynamic=FREE),
    Case(name="two-ways", factory="two_ways", inputs=sequences(8, 9, 3)),
    Case(name="sharp", factory="sharp", inputs=vectors(20, 4), dynamic=FREE),
    Case(name="words", factory="words", inputs=tokens, dynamic={"tokens": (0,)}),
    Case(name="picture-and-facts", factory="picture_and_facts", inputs=pairs, dynamic=BOTH),
    Case(name="double-island", factory="double_island", inputs=vectors(15, 5), dynamic=FREE),
    Case(name="translated", factory="translated", inputs=vectors(15, 6), translations="TABLE"),
    Case(name="narrow-tower", factory="narrow_tower", inputs=vectors(15, 8), dynamic=FREE),
    Case(name="waves", factory="waves", inputs=sequences(1, 64, 9), dynamic=FREE),
    Case(name="distances", factory="distances", inputs=vectors(15, 10), dynamic=FREE),
]
