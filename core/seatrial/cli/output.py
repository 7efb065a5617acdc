"""Standard output: readable in any encoding, pure when it carries JSON, calm when nobody reads."""

from __future__ import annotations

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from seatrial.errors import UserError
from seatrial.report.safe import emit
from seatrial.text import clean

if TYPE_CHECKING:
    from seatrial.report import Report

#: Longest error line, in characters.
LINE = 400
#: Length that an error line is brought down to by shortening its subject.
WANTED = 200
#: Characters of a subject that always stay: its end, where the file's name is.
SUBJECT = 40


def put(text: str, stream: TextIO) -> None:
    """Write guarded text; a reader that has gone away is no error."""
    try:
        emit(text, stream)
    except BrokenPipeError:
        _close_quietly(stream)


def complain(line: str, kind: str = "error") -> None:
    """One line on standard error."""
    tail = f": {clean(line, LINE)}" if line else ""
    put(f"seatrial: {kind}{tail}\n", sys.stderr)


def refusal(error: UserError) -> str:
    """The line of a refused input; a long path loses its beginning, never the advice its end."""
    subject = error.subject
    excess = len(error.line()) - WANTED
    if excess > 0 and len(subject) > SUBJECT:
        subject = "..." + subject[-max(SUBJECT, len(subject) - excess - 3) :]
    return UserError(subject, error.reason, place=error.place, advice=error.advice).line()


def settle() -> None:
    """Flush both streams before Python does it at exit, where an error would be printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _close_quietly(stream)
        except (OSError, ValueError):
            continue


def _close_quietly(stream: TextIO) -> None:
    """Point the stream at nothing, so that nothing later fails on it."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


@contextlib.contextmanager
def reserved() -> Iterator[None]:
    """Send whatever is written to descriptor 1 meanwhile to standard error.

    A plugin that runs in this process may print; the result must stay alone on standard output.
    """
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        number = -1
    if number != 1:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def write_json(document: str, target: str) -> None:
    """Write a JSON text to a file, or to standard output for ``-``."""
    if target == "-":
        put(document, sys.stdout)
    else:
        write_file(document, target)


def write_file(document: str, target: str) -> None:
    """Write a text to a file, whole or not at all.

    Raises:
        UserError: it cannot be written there.
    """
    from pathlib import Path

    from seatrial.report.model import write_text

    try:
        write_text(Path(target), document)
    except OSError as error:
        raise UserError(
            target, error.strerror or str(error), advice="choose another file"
        ) from None


def deliver(report: Report, args: Namespace) -> int:
    """Show a report as the flags ask, and give its exit code."""
    if args.json:
        write_json(report.to_json(), args.json)
    if getattr(args, "html", None):
        write_file(report.to_html(), args.html)
    if args.json != "-":
        show([report], args)
    return report.exit_code


def show(reports: Sequence[Report], args: Namespace, *, brief: bool = False) -> None:
    """Print the view for people (or its ``brief`` form), or with ``-q`` one line per report."""
    from seatrial.report import terminal

    for report in reports:
        try:
            if args.quiet:
                put(terminal.one_line(report), sys.stdout)
            else:
                terminal.show(report, sys.stdout, brief=brief)
        except BrokenPipeError:
            _close_quietly(sys.stdout)


def dump(value: Any) -> str:
    """Strict ASCII JSON of records and plain values."""
    from seatrial.codec import encode
    from seatrial.report.model import strict_json

    return strict_json(encode(value))
