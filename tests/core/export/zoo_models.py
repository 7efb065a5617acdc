"""Small definitions of well-known architectures, with random weights that keep signals alive."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def conv(a: int, b: int, k: int = 3, s: int = 1, g: int = 1, act: type = nn.ReLU) -> nn.Sequential:
    layers = [nn.Conv2d(a, b, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(b)]
    return nn.Sequential(*layers, act())


def alive(module: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics and affine terms as after training, so that batch norm is not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            n = part.num_features
            part.weight.data = 0.8 + 0.4 * torch.rand(n, generator=generator)
            part.bias.data = 0.1 * torch.randn(n, generator=generator)
            part.running_mean = 0.1 * torch.randn(n, generator=generator)
            part.running_var = 0.5 + torch.rand(n, generator=generator)
    return module.eval()


# --- CIFAR ResNet -------------------------------------------------------------------------------


class Basic(nn.Module):
    """Option-A shortcut: stride and zero channels, no weights."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(b)
        self.stride, self.pad = stride, (b - a) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        n = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._layer(16, 16, n, 1)
        self.layer2 = self._layer(16, 32, n, 2)
        self.layer3 = self._layer(32, 64, n, 2)
        self.linear = nn.Linear(64, 10)

    def _layer(self, a: int, b: int, n: int, stride: int) -> nn.Sequential:
        return nn.Sequential(*(Basic(b if i else a, b, 1 if i else stride) for i in range(n)))

    def forward(self, image):
        x = F.relu(self.bn1(self.conv1(image)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def cifar_resnet20():
    return CifarResNet(20).eval()


def cifar_resnet32():
    return CifarResNet(32).eval()


# --- mobile nets --------------------------------------------------------------------------------


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, gate: type) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)
        self.gate = gate()

    def forward(self, x):
        return x * self.gate(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    def __init__(self, a, b, stride, expand=6, k=3, act=nn.ReLU6, gate=None) -> None:
        super().__init__()
        h = a * expand
        layers = [conv(a, h, 1, act=act), conv(h, h, k, stride, h, act)]
        layers += [SqueezeExcite(h, gate)] if gate else []
        layers += [nn.Conv2d(h, b, 1, bias=False), nn.BatchNorm2d(b)]
        self.body, self.skip = nn.Sequential(*layers), stride == 1 and a == b

    def forward(self, x):
        return x + self.body(x) if self.skip else self.body(x)


def mobile(widths, act, gate, k=3) -> nn.Module:
    layers: list[nn.Module] = [conv(3, 16, 3, 2, act=act)]
    a = 16
    for b, n, stride in widths:
        for i in range(n):
            layers.append(Inverted(a, b, stride if i == 0 else 1, 4, k, act, gate))
            a = b
    layers += [conv(a, 4 * a, 1, act=act), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return alive(nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(4 * a, 100)))


V2 = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
SMALL = ((16, 1, 2), (24, 2, 2), (40, 3, 2), (48, 2, 1), (96, 2, 2))


def mobilenet_v2():
    return mobile(V2, nn.ReLU6, None)


def mobilenet_v3():
    return mobile(SMALL, nn.Hardswish, nn.Hardsigmoid, 5)


def efficientnet_b0():
    return mobile(V2, nn.SiLU, nn.Sigmoid)


# --- attention ----------------------------------------------------------------------------------


class ViT(nn.Module):
    def __init__(self, size: int = 64, patch: int = 8, width: int = 96, depth: int = 6) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 100)

    def forward(self, image):
        x = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.norm(self.body(x)[:, 0]))


class LinearAttention(nn.Module):
    """ReLU linear attention with a depthwise multi-scale branch, as in EfficientViT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.scale = nn.Conv2d(3 * width, 3 * width, 5, padding=2, groups=3 * width, bias=False)
        self.heads = heads
        self.out = nn.Sequential(nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        b, c, h, w = x.shape
        one = self.qkv(x)
        y = torch.cat([one, self.scale(one)], 1)
        q, k, v = y.reshape(b, 2 * self.heads, 3 * c // self.heads, h * w).chunk(3, 2)
        q, k = F.relu(q), F.relu(k)
        v = F.pad(v, (0, 0, 0, 1), value=1.0)
        y = (v @ k.transpose(-1, -2)) @ q
        y = y[:, :, :-1] / (y[:, :, -1:] + 1e-6)
        return x + self.out(y.reshape(b, 2 * c, h, w))


def efficientvit():
    layers = [
        conv(3, 16, 3, 2, act=nn.Hardswish),
        Inverted(16, 32, 2, 4, act=nn.Hardswish),
        Inverted(32, 64, 2, 4, act=nn.Hardswish),
        LinearAttention(64, 4),
        Inverted(64, 64, 1, 4, act=nn.Hardswish),
        LinearAttention(64, 4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 100),
    ]
    return alive(nn.Sequential(*layers))


def vit():
    return ViT().eval()


class BiLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.LSTM(40, 64, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(128, 12)

    def forward(self, x):
        return self.head(self.body(x)[0].mean(1))


def bilstm():
    return BiLstm().eval()


# --- ResNet-50 ----------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    def __init__(self, a: int, w: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(a, w, 1),
            conv(w, w, 3, stride),
            nn.Conv2d(w, 4 * w, 1, bias=False),
            nn.BatchNorm2d(4 * w),
        )
        self.skip = (
            nn.Sequential(nn.Conv2d(a, 4 * w, 1, stride, bias=False), nn.BatchNorm2d(4 * w))
            if stride > 1 or a != 4 * w
            else nn.Identity()
        )

    def forward(self, x):
        return F.relu(0.5 * self.body(x) + self.skip(x))


def resnet50():
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    a = 64
    for w, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(n):
            layers.append(Bottleneck(a, w, 2 if i == 0 and w > 64 else 1))
            a = 4 * w
    return alive(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(a, 1000)))
