"""What a user would write: data, loaders and losses for the tiny nets of these tests."""

import time

import torch
from torch.utils.data import DataLoader, Dataset


class Teacher(Dataset):
    """Noise, and what the float net makes of it; ``weights`` are those of :mod:`qat_tiny`."""

    def __init__(self, count=192, seed=1):
        from qat_tiny import net

        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 3, 8, 8, generator=generator)
        with torch.no_grad():
            self.y = net()(self.x)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def loader():
    return DataLoader(Teacher(), 16, shuffle=True, generator=torch.Generator().manual_seed(3))


def dataset():
    return Teacher()


def mapping():
    data = Teacher(64)
    rows = [{"image": x, "label": y} for x, y in data]
    return DataLoader(rows, 16)


def stream():
    return iter([(torch.zeros(4, 3, 8, 8), torch.zeros(4, 4))])


class Anew:
    """Batches without a data set; every iteration begins anew."""

    def __iter__(self):
        data = Teacher(64)
        for k in range(0, 64, 16):
            yield data.x[k : k + 16].numpy(), data.y[k : k + 16].numpy()


def anew():
    return Anew()


def other_shape():
    return [(torch.zeros(3, 9, 8), torch.zeros(4))] * 64


def integers():
    return [(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(4))] * 64


def few():
    return [(torch.zeros(3, 8, 8), torch.zeros(4))] * 20


def no_target():
    return DataLoader([torch.zeros(3, 8, 8)] * 64, 16)


def breaks():
    raise RuntimeError("the disk is gone")


def other_scale():
    return [(200 + 50 * torch.randn(3, 8, 8), torch.zeros(4))] * 64


def distance(output, target):
    return ((output - target) ** 2).mean()


def slow(output, target):
    time.sleep(0.005)
    return distance(output, target)


def rows(output, target):
    return ((output - target) ** 2).mean(1)


def infinite(output, target):
    return (output - target).sum() * float("inf")


def raises(output, target):
    raise ValueError("no such class")


NOT_CALLABLE = 3
