"""Several threads read one store at once."""

import gc
import sys
import threading
import time

import numpy as np
import pytest

from seatrial.samples import Samples, StoreWriter

COUNT, ROUNDS, THREADS = 64, 6, 4


@pytest.fixture
def restless():
    """Threads change places in the midst of anything, the making of a syntax tree as well."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()

    def let_others(_phase, _info):
        time.sleep(0)

    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)
    gc.callbacks.append(let_others)
    yield
    gc.callbacks.remove(let_others)
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


def test_files_of_samples_can_be_opened_by_threads_at_once(tmp_path, restless):
    writer = StoreWriter(tmp_path, COUNT)
    for k in range(COUNT):
        writer.add({"x": np.full((1, 3 + k % 2), k, np.float32)})  # ragged: a file each
    writer.close([{"id": str(k), "sha256": ""} for k in range(COUNT)])
    samples, wrong = Samples(tmp_path), []

    def read():
        try:
            for _ in range(ROUNDS):
                wrong.extend(k for k in range(COUNT) if samples.one("x", k)[0, 0] != k)
        except SystemError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
