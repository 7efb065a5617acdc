"""A folder in which every command that the documents show can be typed.

Usage: python sandbox.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

NETS = '''"""A small residual net on digits, its loader and its weights."""

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.head = nn.Linear(16 * 16, 10)

    def forward(self, images):
        x = self.first(images)
        x = torch.relu(x + self.inner(x))
        return self.head(nn.functional.avg_pool2d(x, 4).flatten(1))


def resnet20():
    torch.manual_seed(0)
    return Net().eval()


def loader():
    data = np.load("train.npz")
    images, labels = torch.from_numpy(data["images"]), torch.from_numpy(data["labels"])
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
    )
'''


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = np.kron(digits.images[order] * (255 / 16), np.ones((1, 2, 2)))
    pixels = np.repeat(images[..., None], 3, axis=-1).round().astype(np.uint8)
    labels = digits.target[order].astype(np.int64)
    (folder / "nets.py").write_text(NETS)
    _pictures(folder, pixels, labels)
    floats = np.transpose(pixels, (0, 3, 1, 2)).astype(np.float32) / 255
    np.savez(folder / "train.npz", images=floats[:900], labels=labels[:900])
    np.savez(folder / "test.npz", images=floats[1400:], labels=labels[1400:])
    _train(folder, floats[:900], labels[:900])


def _pictures(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """``photos`` with a table of splits; ``train``, ``calib`` and ``test`` with class folders."""
    (folder / "photos").mkdir()
    lines = ["file,label,split"]
    for i in (*range(300), *range(900, 1600)):
        part = "train" if i < 300 else "calib" if i < 1300 else "test"
        picture = Image.fromarray(pixels[i])
        if part != "train":
            picture.save(folder / "photos" / f"{i}.png")
            lines.append(f"{i}.png,{labels[i]},{part}")
        place = folder / part / str(labels[i])
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{i}.png")
    (folder / "photos" / "labels.csv").write_text("\n".join(lines) + "\n")


def _train(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    sys.path.insert(0, str(folder))
    import nets

    net = nets.resnet20().train()
    best = torch.optim.Adam(net.parameters(), 3e-3)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(6):
        for rows in torch.randperm(len(y)).split(64):
            best.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            best.step()
    net.eval()
    save_file(net.state_dict(), folder / "resnet20.safetensors")
    torch.onnx.export(
        net,
        (x[:1],),
        str(folder / "model.onnx"),
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
