"""A backend that always works, beside the one that does not."""

from __future__ import annotations

import hashlib

from seatrial import hookimpl
from seatrial import results as r

SEATRIAL_CONTRACT = "1.0"


@hookimpl
def seatrial_describe():
    return r.Description(
        title="Healthy",
        vendor="nobody",
        targets=(r.Target(id="cpu", title="CPU", device="cpu", default=True),),
    )


@hookimpl
def seatrial_probe(request):
    return r.Availability(usable=True)


@hookimpl
def seatrial_compile_check(request, job):
    content = job.path(request.model).read_bytes()
    return r.CompileReport(
        verdict=r.Verdict.SUPPORTED,
        depth=r.Depth.MAP,
        notes=(hashlib.sha256(content).hexdigest(),),
    )
