"""The part of the demo that needs torch and scikit-learn; runs in a child."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from seatrial.demo import DemoFiles, DemoRequest
from seatrial.results import Artifact

if TYPE_CHECKING:
    from pathlib import Path

    from seatrial.hookspecs import Job

#: Images of the 1,797 that train, and of those the ones that calibrate; the rest judge.
TRAIN, CALIBRATION = 800, 256


def make(request: DemoRequest, job: Job) -> DemoFiles:
    """Train, export two models of one function, and write calibration and test data.

    Images are 8 x 8 pixels of 0 to 16, fed as float32 of shape (1, 8, 8) divided by 16.
    """
    import torch

    torch.manual_seed(request.seed)
    torch.set_num_threads(2)
    images, labels = _digits(request.seed)
    net = _net()
    for epoch in range(request.epochs):
        _epoch(net, images[:TRAIN], labels[:TRAIN])
        job.progress(f"epoch {epoch + 1} of {request.epochs}", (epoch + 1) / request.epochs)
    net.eval()
    with torch.no_grad():
        right = net(images[TRAIN:]).argmax(1) == labels[TRAIN:]
    _export(net, job.out / "digits.onnx")
    _spoil(net, request.outlier)
    _export(net, job.out / "digits-outlier.onnx")
    _save(job.out / "calibration.npz", images[:CALIBRATION], labels[:CALIBRATION])
    _save(job.out / "test.npz", images[TRAIN:], labels[TRAIN:])
    files = ("digits.onnx", "digits-outlier.onnx", "calibration.npz", "test.npz")
    return DemoFiles(
        artifact=Artifact(format="demo", entry="", files=files),
        model=files[0],
        spoiled=files[1],
        calibration=files[2],
        test=files[3],
        accuracy=100.0 * float(right.float().mean()),
        train_images=TRAIN,
        calibration_images=CALIBRATION,
        test_images=len(images) - TRAIN,
    )


def _digits(seed: int) -> tuple[Any, Any]:
    import torch
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return images[order], torch.tensor(labels)[order]


def _net() -> Any:
    """Two depthwise-separable blocks, as in MobileNet, over a small stem."""
    from torch import nn

    def block(width: int, wider: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            nn.Conv2d(width, wider, 1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(),
        ]

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        *block(32, 64, 2),
        *block(64, 96, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


def _epoch(net: Any, images: Any, labels: Any) -> None:
    import torch

    if not hasattr(net, "optimiser"):
        object.__setattr__(net, "optimiser", torch.optim.AdamW(net.parameters(), 3e-3))
    net.train()
    for batch in torch.randperm(len(images)).split(50):
        net.optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(images[batch]), labels[batch])
        loss.backward()
        net.optimiser.step()


def _spoil(net: Any, factor: float) -> None:
    """Scale channel 0 after the stem up, and undo it in the depthwise convolution behind it.

    ReLU is positively homogeneous, so the float function does not change; the range of the
    tensor in between grows by the factor, and with it the step of a per-tensor quantiser.
    """
    import torch

    with torch.no_grad():
        net[1].weight[0] *= factor
        net[1].bias[0] *= factor
        net[3].weight[0] /= factor


def _export(net: Any, path: Path) -> None:
    import torch

    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.zeros(2, 1, 8, 8),),
            str(path),
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _save(path: Path, images: Any, labels: Any) -> None:
    import numpy as np

    np.savez_compressed(path, image=images.numpy(), labels=labels.numpy().astype("int64"))
