"""``seatrial qat``: training with quantisation in the loop."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "qat",
        help="fine-tune with fake quantisers, and write the Q/DQ model that was trained",
        description="Quantisation-aware training with your own loader and loss; it goes on from "
        "its last checkpoint when it was stopped.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="MODULE:FACTORY, or a float ONNX file")
    parser.add_argument(
        "--train", default="", metavar="MODULE:CALLABLE", help="gives the loader, or a data set"
    )
    parser.add_argument(
        "--loss", default="", metavar="MODULE:CALLABLE", help="called with outputs and targets"
    )
    parser.add_argument(
        "--calibration", default="", metavar="SRC", help="samples that the ranges start from"
    )
    parser.add_argument("-o", "--out", default="", metavar="DIR", help="default: MODEL-qat")
    parser.add_argument(
        "--weights", default="", metavar="FILE", help=".safetensors or a checkpoint"
    )
    parser.add_argument(
        "--trust-pickle", action="store_true", help="let a checkpoint's pickle run code"
    )
    flags.shapes(parser)
    _training(parser)
    flags.targets(parser)
    flags.config(parser)
    parser.add_argument(
        "--force-synthetic", action="store_true", help="go on without real data, and say so"
    )
    flags.jobs(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def _training(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", metavar="N", help="default 10")
    group.add_argument("--lr", metavar="RATE", help="of Adam, default 1e-4")
    group.add_argument(
        "--schedule", default="", metavar="NAME", help="cosine (the default) or constant"
    )
    group.add_argument(
        "--layers",
        default="",
        metavar="WHICH",
        help="all (the default), or weighted: what has weights learns, the rest is calibrated",
    )
    group.add_argument(
        "--fixed-ranges", action="store_true", help="activations keep their calibrated ranges"
    )
    group.add_argument(
        "--validation",
        default="",
        metavar="MODULE:CALLABLE",
        help="a loader that chooses the epoch (default: a share of the training samples)",
    )
    group.add_argument(
        "--validation-share", metavar="SHARE", help="of the training samples, default 0.1"
    )
    group.add_argument("--batch", metavar="N", help="of a data set that is no loader, default 32")
    group.add_argument("--threads", metavar="N", help="CPU threads")
    group.add_argument("--seed", metavar="N", help="of everything random (default 0)")
    group.add_argument("--fresh", action="store_true", help="do not go on from a checkpoint")


def run(args: Namespace) -> int:
    """Train; exit code 0 when a model was written and computes what was trained, else 3."""
    from seatrial import api
    from seatrial.options import QatOptions

    options = QatOptions(
        model=args.model,
        train=args.train,
        loss=args.loss,
        calibration=args.calibration,
        validation=args.validation,
        out=args.out,
        weights=args.weights,
        trust_pickle=args.trust_pickle,
        epochs=flags.whole(args, "epochs", low=1),
        lr=flags.number(args, "lr"),
        schedule=args.schedule,
        layers=args.layers,
        fixed_ranges=args.fixed_ranges,
        share=flags.number(args, "validation_share", high=0.5),
        batch=flags.whole(args, "batch", low=1),
        threads=flags.whole(args, "threads", low=1),
        fresh=args.fresh,
        targets=tuple(args.targets),
        all_targets=args.all_targets,
        config=args.config,
        seed=flags.whole(args, "seed"),
        force_synthetic=args.force_synthetic,
        shapes=flags.shapes_of(args),
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )
    with output.reserved(), progress.make(args) as shown:
        report = api.qat(options, shown)
    return output.deliver(report, args)
