"""Hailo under the conformance kit, on a machine that has neither compiler nor chip.

With the compiler here the same line would try every case. Its flow is tested against a stand-in
in ``hailo/``; the kit would only test the stand-in.
"""

from seatrial.testing import BackendSuite


class TestHailo(BackendSuite):
    backend = "hailo"
    node_sample = 0
