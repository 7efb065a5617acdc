"""``seatrial backends``: what is installed, what is missing, how to get it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "backends",
        help="what is installed, what is missing, how to get it",
        description="List every backend with its targets, versions, and what keeps it from use.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--freeze", action="store_true", help="print versions as TOML instead: a lock file"
    )
    parser.add_argument(
        "--no-probe", action="store_true", help="only list what is installed, load nothing"
    )
    flags.config(parser)
    flags.jobs(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """List the backends; exit code 0, or 3 when one cannot be used because it is broken."""
    from seatrial import api
    from seatrial.options import BackendsOptions

    options = BackendsOptions(probe=not args.no_probe, config=args.config, jobs=flags.jobs_of(args))
    with output.reserved(), progress.make(args) as shown:
        result = api.backends(options, shown)
    if args.json:
        output.write_json(output.dump(result), args.json)
    if args.json != "-":
        from seatrial.report import backends_view

        if args.freeze:
            output.put(backends_view.lock(result), sys.stdout)
        else:
            backends_view.show(result, sys.stdout)
    return 3 if any(row.problem or row.problems or row.fault for row in result.rows) else 0
