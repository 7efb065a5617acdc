"""``seatrial init``: a commented configuration and a contact sheet."""

from __future__ import annotations

from seatrial.init.command import run

__all__ = ["run"]
