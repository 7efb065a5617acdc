"""``seatrial explain``: the longer story behind a finding or a word of the report."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import output


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "explain",
        help="the story behind a finding or a word: what it means, why, what to do",
        description="Without TOPIC, lists all of them.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "topic",
        metavar="TOPIC",
        nargs="*",
        help="a code of the report (ladder.noise), a topic (calibration), or words to look for",
    )
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Print; exit code 0, or 2 when there is no such story."""
    from seatrial import explain
    from seatrial.errors import UserError
    from seatrial.report import explain_view

    words = " ".join(args.topic).strip()
    if not words:
        explain_view.contents(explain.stories(), sys.stdout)
        return 0
    story = explain.about(words)
    found = () if story else explain.search(words)
    if story is None and len(found) == 1:
        story = found[0]
    if story is not None:
        explain_view.show(story, sys.stdout)
        return 0
    if not found:
        advice = "seatrial explain (without a topic) lists them all"
        raise UserError(words, "there is no story about that", advice=advice)
    output.put(f"nothing is called {words!r}; it may be one of these\n\n", sys.stdout)
    explain_view.contents(found, sys.stdout)
    return 0
