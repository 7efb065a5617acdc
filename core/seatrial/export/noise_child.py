"""Core task: noise in the shape of the inputs, when there are no samples. Marked synthetic."""

from __future__ import annotations

import hashlib

from seatrial.export.module_records import SyntheticRequest, SyntheticResult
from seatrial.hookspecs import Job
from seatrial.results import Artifact
from seatrial.samples import StoreWriter


def synthetic(request: SyntheticRequest, job: Job) -> SyntheticResult:
    """Standard normal floats; zeros and ones where whole numbers or flags are fed."""
    import numpy as np

    root = job.out / "samples"
    root.mkdir()
    writer = StoreWriter(root, request.count)
    generator = np.random.default_rng(request.seed)
    rows = []
    for i in range(request.count):
        sample = {}
        digest = hashlib.sha256()
        for tensor in request.inputs:
            shape = [d if isinstance(d, int) else 1 for d in tensor.shape[1:]]
            dtype = np.dtype(tensor.dtype or "float32")
            if dtype.kind == "f":
                value = generator.standard_normal(shape).astype(dtype)
            else:
                value = generator.integers(0, 2, shape).astype(dtype)
            sample[tensor.name] = value
            digest.update(np.ascontiguousarray(value).tobytes())
        writer.add(sample)
        rows.append({"id": f"noise-{i}", "sha256": digest.hexdigest()})
    files = writer.close(rows, origin="synthetic")
    artifact = Artifact(
        format="seatrial-samples", entry="", files=tuple(f"samples/{f}" for f in files)
    )
    return SyntheticResult(artifact=artifact, count=request.count)
