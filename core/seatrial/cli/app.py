"""Parse, run, and turn whatever happens into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from seatrial.errors import UserError
from seatrial.text import clean

from . import (
    audit,
    backends,
    bench,
    check,
    compare,
    demo,
    explain,
    export,
    init,
    new_backend,
    qat,
    quantize,
    report,
    repro,
    run,
)
from .output import complain, put, refusal, settle

#: In the order of the help.
COMMANDS = (
    run,
    check,
    export,
    init,
    audit,
    quantize,
    qat,
    bench,
    compare,
    report,
    repro,
    explain,
    backends,
    new_backend,
    demo,
)

EPILOG = """\
exit codes
  0 it holds   1 shown not to hold   2 the input was refused
  3 not proven, or a fault   130 interrupted

start here
  seatrial demo                      the whole trial on a small model, nothing to prepare
  seatrial check model.onnx          does it compile, and for which targets?
"""


class Parser(argparse.ArgumentParser):
    """Errors are one line, like all others of this program."""

    def error(self, message: str) -> NoReturn:
        """Print the line and end with exit code 2."""
        complain(f"{message} (try: {self.prog} --help)")
        raise SystemExit(2)

    def _print_message(self, message: str, file: object = None) -> None:
        """Help is written like everything else: in the stream's encoding, to the end or not."""
        if message:
            put(message, sys.stdout if file is None or file is sys.stdout else sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(
        prog="seatrial",
        description="Does this model compile, stay accurate and run fast on that edge target?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action=Version, nargs=0, help="print the version and end")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return top


class Version(argparse.Action):
    """Look the version up only when asked: package metadata is slow."""

    def __call__(self, *_: object) -> None:
        """Print and end."""
        from importlib.metadata import version

        put(f"seatrial {version('seatrial')}\n", sys.stdout)
        raise SystemExit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 it holds, 1 shown not to hold, 2 refused, 3 not proven or a fault,
        130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    settle()
    return code


def _run(words: list[str]) -> int:
    top = parser()
    args = top.parse_args(words)
    if not hasattr(args, "run"):
        top.print_help()
        return 2
    args.command_line = ("seatrial", *words)
    try:
        return int(args.run(args))
    except UserError as error:
        complain(refusal(error))
        return 2
    except KeyboardInterrupt:
        complain("", "interrupted")
        return 130
    except Exception as error:  # noqa: BLE001  whatever it is, the user gets one line
        return _crash(error)


def _crash(error: Exception) -> int:
    """An error of this program: one line, and the traceback in a file."""
    if os.environ.get("SEATRIAL_TRACEBACK") == "1":
        import traceback

        put(clean_lines("".join(traceback.format_exception(error))), sys.stderr)
    summary = f"{type(error).__name__}: {error}"
    complain(f"{clean(summary, 200)} (traceback: {_write(error)})", "internal error")
    return 3


def _write(error: Exception) -> str:
    import tempfile
    import traceback

    try:
        handle, name = tempfile.mkstemp(prefix="seatrial-crash-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"command line: {sys.argv!r}\n")
            file.writelines(traceback.format_exception(error))
    except OSError as why:
        return f"could not be written: {why.strerror}; set SEATRIAL_TRACEBACK=1"
    return name


def clean_lines(text: str) -> str:
    """Several lines, each made printable."""
    return "".join(f"{clean(line, 1000)}\n" for line in text.splitlines())
