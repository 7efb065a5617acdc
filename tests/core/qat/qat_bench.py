"""Jobs that share their objects, and requests with the usual parts filled in."""

from pathlib import Path

import numpy as np

from seatrial.calibration import child as calibration
from seatrial.calibration.types import SAMPLED, RangesRequest
from seatrial.qat import child
from seatrial.qat import records as qr
from seatrial.results import QdqDialect
from seatrial.samples import StoreWriter
from seatrial.testing import LocalJob

USER = str(Path(__file__).parent / "qat_user.py")


class Bench:
    def __init__(self, root, model):
        self.root = root
        self.first = LocalJob(root / "first")
        self.model = self.first.add(model)
        store = root / "store"
        store.mkdir()
        noise = np.random.default_rng(0).standard_normal((96, 3, 8, 8), np.float32)
        writer = StoreWriter(store, len(noise))
        for x in noise:
            writer.add({"image": x})
        writer.close([{"id": str(i), "sha256": str(i)} for i in range(len(noise))])
        self.samples = self.first.add(store)
        request = RangesRequest(model=self.model, samples=self.samples, statistics=SAMPLED)
        self.ranges = self.first.adopt(calibration.ranges(request, self.first).artifact)
        self.jobs = 0

    def job(self):
        self.jobs += 1
        job = LocalJob(self.root / f"job{self.jobs}")
        job._paths = self.first._paths
        return job

    def request(self, folder, **known):
        settings = known.pop("settings", {})
        usual = {"epochs": 3, "lr": 1e-2, "threads": 1, "batch": 16}
        given = {
            "model": self.model,
            "ranges": self.ranges,
            "samples": self.samples,
            "train": f"{USER}:loader",
            "loss": f"{USER}:distance",
            "folder": str(folder),
            "dialect": QdqDialect(),
        }
        return qr.TrainRequest(**{**given, **known}, settings=qr.Settings(**{**usual, **settings}))

    def train(self, folder, **known):
        job = self.job()
        result = child.train(self.request(folder, **known), job)
        return result, job.adopt(result.artifact), job.add(job.out / "ranges.json")
