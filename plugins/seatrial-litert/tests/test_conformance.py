"""The conformance kit on litert, run in the interpreter that has the toolchain."""

import os
from typing import ClassVar

from seatrial.testing import BackendSuite


class TestLiteRt(BackendSuite):
    backend = "litert"
    python = os.environ.get("SEATRIAL_LITERT_PYTHON", "")
    gaps: ClassVar = {}
