"""A face detector with receptive-field blocks for 320 x 240 pictures, post-processing included."""

from __future__ import annotations

import torch
from torch import nn

WIDTH, HEIGHT = 320, 240
STRIDES = (8, 16, 32, 64)
BOXES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))


def first(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


def pair(a: int, b: int, stride: int) -> nn.Sequential:
    """Depthwise, then pointwise."""
    return nn.Sequential(
        nn.Conv2d(a, a, 3, stride, 1, groups=a, bias=False),
        nn.BatchNorm2d(a),
        nn.ReLU(),
        nn.Conv2d(a, b, 1, bias=False),
        nn.BatchNorm2d(b),
        nn.ReLU(),
    )


def apart(a: int, b: int, stride: int = 1) -> nn.Sequential:
    """The same without normalisation, as the heads use it."""
    return nn.Sequential(nn.Conv2d(a, a, 3, stride, 1, groups=a), nn.ReLU(), nn.Conv2d(a, b, 1))


class BasicConv(nn.Module):
    def __init__(self, a: int, b: int, k: int = 1, dilation: int = 1, relu: bool = True) -> None:
        super().__init__()
        pad = dilation * (k // 2)
        self.conv = nn.Conv2d(a, b, k, padding=pad, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(b)
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class ReceptiveField(nn.Module):
    """Three branches of growing dilation beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        thin = width // 8
        wide, middle = 2 * thin, thin // 2 * 3
        self.branch0 = nn.Sequential(
            BasicConv(width, thin, relu=False),
            BasicConv(thin, wide, 3),
            BasicConv(wide, wide, 3, 2, relu=False),
        )
        self.branch1 = nn.Sequential(
            BasicConv(width, thin, relu=False),
            BasicConv(thin, wide, 3),
            BasicConv(wide, wide, 3, 3, relu=False),
        )
        self.branch2 = nn.Sequential(
            BasicConv(width, thin, relu=False),
            BasicConv(thin, middle, 3),
            BasicConv(middle, wide, 3),
            BasicConv(wide, wide, 3, 5, relu=False),
        )
        self.ConvLinear = BasicConv(3 * wide, width, relu=False)
        self.shortcut = BasicConv(width, width, relu=False)

    def forward(self, x):
        parts = [self.branch0(x), self.branch1(x), self.branch2(x)]
        return torch.relu(self.ConvLinear(torch.cat(parts, 1)) + self.shortcut(x))


def priors() -> torch.Tensor:
    """Centre and size of every box, as fractions of the picture: (boxes, 4)."""
    rows = []
    for stride, sizes in zip(STRIDES, BOXES, strict=True):
        high, wide = -(-HEIGHT // stride), -(-WIDTH // stride)
        for j in range(high):
            for i in range(wide):
                x, y = (i + 0.5) / wide, (j + 0.5) / high
                rows += [(x, y, size / WIDTH, size / HEIGHT) for size in sizes]
    return torch.tensor(rows).clamp(0, 1)


class UltraFace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        steps = ((16, 32, 1), (32, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1))
        later = ((64, 128, 2), (128, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1))
        layers = [first(3, 16), *(pair(*s) for s in steps), ReceptiveField(64)]
        self.base_net = nn.ModuleList([*layers, *(pair(*s) for s in later)])
        extra = nn.Sequential(nn.Conv2d(256, 64, 1), nn.ReLU(), apart(64, 256, 2), nn.ReLU())
        self.extras = nn.ModuleList([extra])
        widths = (64, 128, 256)
        counts = [len(b) for b in BOXES]
        self.classification_headers = nn.ModuleList(
            [apart(w, 2 * n) for w, n in zip(widths, counts, strict=False)]
            + [nn.Conv2d(256, 2 * counts[3], 3, padding=1)]
        )
        self.regression_headers = nn.ModuleList(
            [apart(w, 4 * n) for w, n in zip(widths, counts, strict=False)]
            + [nn.Conv2d(256, 4 * counts[3], 3, padding=1)]
        )
        self.register_buffer("priors", priors(), persistent=False)

    def forward(self, picture):
        x, maps = picture, []
        for k, layer in enumerate(self.base_net):
            x = layer(x)
            if k in (7, 10, 12):
                maps.append(x)
        maps.append(self.extras[0](x))
        scores = self._gather(self.classification_headers, maps, 2).softmax(2)
        place = self._gather(self.regression_headers, maps, 4)
        centre = place[..., :2] * 0.1 * self.priors[:, 2:] + self.priors[:, :2]
        size = torch.exp(place[..., 2:] * 0.2) * self.priors[:, 2:]
        return scores, torch.cat([centre - size / 2, centre + size / 2], 2)

    def _gather(self, heads, maps, columns):
        parts = [head(x).permute(0, 2, 3, 1) for head, x in zip(heads, maps, strict=True)]
        return torch.cat([p.reshape(p.shape[0], -1, columns) for p in parts], 1)


def ultraface():
    return UltraFace().eval()
