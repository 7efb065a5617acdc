"""The part of the demo that needs torch and scikit-learn; runs in a child."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from seatrial.demo import DemoFiles, DemoRequest
from seatrial.hookspecs import Job
from seatrial.results import Artifact

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
    """Stem, two depthwise-separable blocks around a residual stream, head."""
    import torch
    from torch import nn

    def block(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    class Net(nn.Module):  # type: ignore[misc]  # torch is not followed
        def __init__(self, width: int = 48, features: int = 96) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, width, 3, 2, 1, bias=False)
            self.norm = nn.BatchNorm2d(width)
            self.blocks = nn.ModuleList(block(width) for _ in range(2))
            self.head = nn.Conv2d(width, features, 1)
            self.classes = nn.Linear(features, 10)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            stream = self.norm(self.stem(image))
            for one in self.blocks:
                stream = stream + one(stream)
            features = torch.relu(self.head(stream)).mean((2, 3))
            logits: torch.Tensor = self.classes(features)
            return logits

    return Net()


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
    """Scale the channels of the residual stream apart, and undo it in everything that reads it.

    Channel c of C grows by factor^(c / (C - 1)). The float function does not change. The range of
    the stream grows by the factor, and with it the step of a per-tensor quantiser, in which the
    small channels vanish; every channel matters as before, so no clipping helps; and since the
    stream is added to, no rescaling of a pair of neighbouring layers can take the factors out.
    """
    import torch

    with torch.no_grad():
        sizes = factor ** torch.linspace(0, 1, len(net.norm.weight))
        for norm in (net.norm, *(block[-1] for block in net.blocks)):
            norm.weight *= sizes
            norm.bias *= sizes
        for block in net.blocks:
            block[0].weight /= sizes.reshape(-1, 1, 1, 1)
        net.head.weight /= sizes.reshape(1, -1, 1, 1)


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
