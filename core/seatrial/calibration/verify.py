"""Does the prepared graph still give what the model gives? Runs in a child only."""

from __future__ import annotations

from pathlib import Path

from seatrial.errors import UserError
from seatrial.layout.compare import distance
from seatrial.quantize.prepare import Prepared
from seatrial.reference import open_model
from seatrial.samples import Samples

#: Largest difference as a fraction of the output's magnitude. Folding changes each weight by one
#: rounding; nets that amplify this beyond a thousandth cannot be judged in FP32 at all.
TOLERANCE = 1e-3


def check_prepared(path: Path, prepared: Prepared, samples: Samples, index: int) -> None:
    """Run one sample through the model and through its prepared form, if arithmetic was edited.

    Raises:
        UserError: they differ.
    """
    import numpy as np

    if not prepared.folded and not prepared.notes:
        return
    graph = prepared.graph
    session = open_model(path, threads=1)
    group = next(session.groups(samples, [index]))
    feeds = {n: v for n, v in samples.feeds(group).items() if n in session.inputs}
    expected = session.run(feeds)
    session.close()  # never two in memory at a time
    got = open_model(graph.serialised(), folder=graph.folder, threads=1).run(feeds)
    for name, value in expected.items():
        if not np.issubdtype(value.dtype, np.floating) or not np.isfinite(value).all():
            continue
        far = distance(value, got[name])[1]
        if far > TOLERANCE:
            raise UserError(
                path.name,
                f"folding batch normalisation or converting the opset changes it by {far:.2g} of "
                "its magnitude",
                place=name,
                advice="export the model in inference mode, with opset 13 or later",
            )
