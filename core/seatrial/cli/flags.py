"""Flags that several commands share, and how their values are read."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace, _ArgumentGroup
from typing import TYPE_CHECKING

from seatrial.errors import UserError

if TYPE_CHECKING:
    from seatrial.options import JobOptions
    from seatrial.sla import SLA, LatencyLimit

_LATENCY = re.compile(r"(p\d{1,2}(?:\.\d+)?)=(\d+(?:\.\d+)?)(ms|us|s)")
_MILLISECONDS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(MB|GB|M|G|)", re.IGNORECASE)
_SHAPE = re.compile(r"(?P<name>.+)=(?P<dims>[1-9]\d*(?:x[1-9]\d*)*)", re.DOTALL)


def targets(parser: ArgumentParser) -> None:
    """``-b`` and ``--all``."""
    parser.add_argument(
        "-b",
        "--backend",
        dest="targets",
        action="append",
        default=[],
        metavar="TARGET",
        help="backend:target to use, as listed by 'seatrial backends'; repeat for more",
    )
    parser.add_argument(
        "--all", dest="all_targets", action="store_true", help="also targets that are not default"
    )


def output(parser: ArgumentParser, *, report: bool = True, page: bool = False) -> None:
    """``--json``, ``-q``, ``-v``; ``--html`` for commands that have no folder to put a page in."""
    group = parser.add_argument_group("output")
    if report:
        group.add_argument(
            "--json", metavar="FILE", help="write the document here ('-': standard output, alone)"
        )
    if page:
        group.add_argument("--html", metavar="FILE", help="write the report as one page here")
    volume = group.add_mutually_exclusive_group()
    volume.add_argument(
        "-q", "--quiet", action="store_true", help="no progress, one line of result"
    )
    volume.add_argument("-v", "--verbose", action="store_true", help="every step on its own line")


def jobs(parser: ArgumentParser) -> None:
    """How hook calls are run."""
    group = parser.add_argument_group("how compilers are run")
    group.add_argument("--timeout", metavar="S", help="seconds one call may take")
    group.add_argument("--memory-mb", metavar="MB", help="memory one call may use")
    group.add_argument(
        "--allow-network",
        metavar="TARGET",
        action="append",
        default=[],
        help="let this target use the network (a licence server)",
    )
    group.add_argument(
        "--in-process", action="store_true", help="no child processes: for a vendor's debugger"
    )


def sla(group: ArgumentParser | _ArgumentGroup, *, accuracy: bool = True) -> None:
    """What must hold."""
    if accuracy:
        group.add_argument("--max-drop", metavar="POINTS", help="highest drop (default 1.0)")
        group.add_argument("--min-metric", metavar="POINTS", help="lowest metric")
        group.add_argument(
            "--device-drop",
            metavar="POINTS",
            help="highest drop from the ONNX INT8 to the device's (default 0.5)",
        )
        group.add_argument(
            "--class-drop",
            metavar="POINTS",
            help="highest drop of any single class (default: that of --max-drop)",
        )
        group.add_argument(
            "--accept-agreement",
            metavar="PERCENT",
            help="without labels, take this agreement with the float model for accuracy",
        )
    group.add_argument("--max-latency", metavar="P=TIME", help="as in p99=12ms")
    group.add_argument("--max-memory", metavar="SIZE", help="peak memory, as in 512MB")
    group.add_argument(
        "--fail-on",
        choices=("not-proven", "do-not-ship", "never"),
        help="mildest verdict with a failing exit code (default not-proven); recorded",
    )


def config(parser: ArgumentParser) -> None:
    """``--config``."""
    parser.add_argument("--config", default="", metavar="FILE", help="seatrial.toml; flags win")


def weights(parser: ArgumentParser) -> None:
    """``--weights`` and ``--trust-pickle``."""
    parser.add_argument(
        "--weights",
        default="",
        metavar="FILE",
        help="load a .safetensors or state dict into what the factory gives",
    )
    parser.add_argument(
        "--trust-pickle", action="store_true", help="let a checkpoint's pickle run code"
    )


def shapes(parser: ArgumentParser) -> None:
    """``--shape``."""
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=1x3x224x224",
        help="static shape of an input; repeat for more",
    )


# --- values -------------------------------------------------------------------------------------


def number(
    args: Namespace, name: str, *, low: float = 0.0, high: float | None = None
) -> float | None:
    """A number given for ``--name``, or ``None`` when it was not given.

    Raises:
        UserError: not a finite number, or out of range.
    """
    text = getattr(args, name)
    if text is None:
        return None
    flag = "--" + name.replace("_", "-")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    upper = float("inf") if high is None else high
    if not low <= value <= upper or value == float("inf"):
        span = f"from {low:g} up" if high is None else f"from {low:g} to {high:g}"
        raise UserError(
            flag, f"{text!r} is not a number {span}", advice=f"as in {flag} {low + 1:g}"
        )
    return value


def whole(args: Namespace, name: str, *, low: int = 0) -> int | None:
    """A whole number given for ``--name``, or ``None``.

    Raises:
        UserError: not a whole number, or too low.
    """
    value = number(args, name, low=low)
    if value is None:
        return None
    if value != int(value):
        flag = "--" + name.replace("_", "-")
        raise UserError(flag, f"{getattr(args, name)!r} is not a whole number")
    return int(value)


def sla_of(args: Namespace) -> SLA:
    """The limits given as flags; what was not given is ``None``."""
    from seatrial.sla import SLA

    return SLA(
        max_drop=number(args, "max_drop") if hasattr(args, "max_drop") else None,
        min_metric=number(args, "min_metric") if hasattr(args, "min_metric") else None,
        device_drop=number(args, "device_drop") if hasattr(args, "device_drop") else None,
        class_drop=number(args, "class_drop") if hasattr(args, "class_drop") else None,
        accept_agreement=(
            number(args, "accept_agreement", high=100) if hasattr(args, "max_drop") else None
        ),
        max_latency=latency_of(args.max_latency),
        max_memory_mb=memory_of(args.max_memory),
        fail_on=args.fail_on,
    )


def latency_of(text: str | None) -> LatencyLimit | None:
    """``p99=12ms`` as a limit.

    Raises:
        UserError: not of that form.
    """
    from seatrial.sla import LatencyLimit

    if text is None:
        return None
    match = _LATENCY.fullmatch(text.strip())
    if match is None:
        raise UserError("--max-latency", f"cannot read {text!r}", advice="as in p99=12ms")
    quantile, value, unit = match.groups()
    return LatencyLimit(quantile=quantile, ms=float(value) * _MILLISECONDS[unit])


def memory_of(text: str | None) -> float | None:
    """``512MB`` or ``1.5GB`` as MiB; a bare number is MiB.

    Raises:
        UserError: not of that form.
    """
    if text is None:
        return None
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise UserError("--max-memory", f"cannot read {text!r}", advice="as in 512MB or 1.5GB")
    return float(match.group(1)) * (1024.0 if match.group(2).upper().startswith("G") else 1.0)


def shapes_of(args: Namespace) -> dict[str, tuple[int, ...]]:
    """``NAME=1x3x224x224`` by name; the name may hold ``=`` itself.

    Raises:
        UserError: not of that form, or an input named twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in args.shape:
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise UserError("--shape", f"cannot read {text!r}", advice="as in input=1x3x224x224")
        if match["name"] in shapes:
            raise UserError("--shape", "given twice for one input", place=match["name"])
        shapes[match["name"]] = tuple(int(d) for d in match["dims"].split("x"))
    return shapes


def jobs_of(args: Namespace) -> JobOptions:
    """How hook calls are run."""
    from seatrial.options import JobOptions

    return JobOptions(
        timeout_s=number(args, "timeout", low=0.001),
        memory_mb=whole(args, "memory_mb", low=1),
        in_process=args.in_process,
        allow_network=tuple(args.allow_network),
        fresh=getattr(args, "fresh", False),
    )


def fresh(parser: ArgumentParser) -> None:
    """``--fresh``."""
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="do everything anew, also what an earlier run in the same folder made",
    )


def all_int8(parser: ArgumentParser) -> None:
    """``--all-int8``."""
    parser.add_argument(
        "--all-int8",
        action="store_true",
        help="diagnose, but leave no layer in float to recover accuracy or speed",
    )
