"""``seatrial repro``: the smallest model that a target refuses, or dies of, in the same way."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "repro",
        help="the smallest model that a target refuses or dies of, for its vendor's tracker",
        description=(
            "Cut a model down to the nodes that a target refuses or dies of, with numbers of our "
            "own for weights and names wherever it still happens then."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="an ONNX file")
    parser.add_argument(
        "-b", "--target", required=True, metavar="TARGET", help="the target, as in BACKEND:TARGET"
    )
    parser.add_argument(
        "-o", "--out", default="", metavar="DIR", help="output folder (default MODEL-repro)"
    )
    parser.add_argument(
        "--budget", metavar="S", help="seconds for the search (default 300); the best so far stays"
    )
    flags.shapes(parser)
    flags.config(parser)
    flags.jobs(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, one line")
    parser.add_argument("-v", "--verbose", action="store_true", help="every step on its own line")
    parser.set_defaults(run=run, json=None)


def run(args: Namespace) -> int:
    """Write the folder; exit code 0, or 3 when the result does not always show the symptom."""
    from seatrial import api
    from seatrial.options import ReproOptions
    from seatrial.report import repro_view

    options = ReproOptions(
        model=args.model,
        target=args.target,
        out=args.out,
        budget_s=flags.number(args, "budget", low=1, high=86400) or 0.0,
        config=args.config,
        shapes=flags.shapes_of(args),
        jobs=flags.jobs_of(args),
    )
    with output.reserved(), progress.make(args) as shown:
        made = api.repro(options, shown)
    repro_view.show(made, sys.stdout, brief=args.quiet)
    return 0 if made.shown == made.asked else 3
