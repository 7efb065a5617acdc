"""OpenVINO and NNCF with the variables of ``describe``: no name look-up, nothing in HOME."""

from seatrial_openvino.targets import describe

WATCH = """
import os, socket
from pathlib import Path
asked = []
real = socket.socket.connect
def connect(self, address):
    asked.append(str(address))
    return real(self, address)
def lookup(*a, **k):
    asked.append(str(a))
    raise OSError("no network here")
socket.socket.connect, socket.getaddrinfo = connect, lookup
import numpy as np
import seatrial_openvino as b
from seatrial.results import CheckRequest, Int8Request, ProbeRequest
from seatrial.samples import StoreWriter
from seatrial.testing import LocalJob
root, path = Path(sys.argv[1]), Path(sys.argv[2])
job = LocalJob(root)
b.seatrial_probe(ProbeRequest(target="CPU"))
b.seatrial_compile_check(CheckRequest(model=job.add(path), target="CPU"), job)
store = root / "store"
store.mkdir()
writer = StoreWriter(store, 4)
for i in range(4):
    writer.add({"x": np.random.default_rng(i).normal(size=(3, 16, 16)).astype(np.float32)})
writer.close([{"id": str(i), "sha256": ""} for i in range(4)])
b.seatrial_build_int8(Int8Request(model=job.add(path), target="CPU", form="float",
                                  calibration=job.add(store)), job)
import time
time.sleep(1)  # telemetry is sent from a thread
give(asked)
"""


def test_no_look_up_and_nothing_in_home(zoo, fresh):
    home = zoo.root / "home"
    home.mkdir()
    variables = {"HOME": str(home), **describe().environment}
    asked = fresh(WATCH, zoo.root / "quiet", zoo.cnn(), environment=variables)
    assert asked == []
    assert [p for p in home.rglob("*") if p.is_file()] == []
