"""Whether a target can be used here: package, libraries, driver, device, builder, DLA core."""

from __future__ import annotations

from seatrial.results import Availability

from ._targets import core
from ._trt import NotHereError, Toolkit, find_driver, machine
from ._versions import distributions


def probe(target: str) -> Availability:
    """Answer ``seatrial_probe``.

    Raises:
        UserError: there is no such target.
    """
    core(target)
    versions = distributions()
    try:
        toolkit = Toolkit(target)
    except NotHereError as error:
        reason = str(error)
        devices: tuple[str, ...] = ()
        try:
            driver = find_driver()
            devices = (str(driver.gpu()),)
            versions |= machine(driver)
        except NotHereError as other:
            if other.missing != error.missing:
                reason = f"{reason}; and {other}"
        return Availability(
            usable=False,
            reason=reason,
            install_hint=error.hint,
            versions=versions,
            devices=devices,
        )
    return Availability(
        usable=True,
        versions=versions | toolkit.versions(),
        devices=(str(toolkit.gpu),),
    )
