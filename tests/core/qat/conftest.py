"""A tiny net with samples and ranges, once for all tests of this folder."""

import sys
from pathlib import Path

import pytest
import torch

# The user's module of these tests imports the net by name, as a user's own would.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    import qat_bench
    import qat_tiny

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("qat")
    return qat_bench.Bench(root, qat_tiny.write(root / "tiny.onnx"))
