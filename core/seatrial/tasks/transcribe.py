"""Transcription: texts against texts, word or character error rate by jiwer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from seatrial.errors import UserError

from .regress import OneOutput, numbers
from .totals import Totals, ratio

METRICS = {"wer": "word error rate", "cer": "character error rate"}


class Transcribe(OneOutput, Totals):
    """Error rate of a model that gives class scores per frame (CTC), decoded greedily.

    Repeated classes count once, and blanks for nothing (A. Graves et al., "Connectionist temporal
    classification", ICML 2006).

    Args:
        alphabet: one character per class, in order, the blank's left out.
        blank: class of the blank; -1: the last one.
        metric: ``wer`` or ``cer``.
        output: class scores (frames, classes) or class indices (frames,); empty: the first float
            output.
        lower: compare texts in lower case.

    Raises:
        UserError: no alphabet, an unknown metric, or jiwer is not installed.
    """

    unit = "points"
    higher_is_better = False
    scale = 100.0

    def __init__(
        self,
        alphabet: str = "",
        blank: int = 0,
        metric: str = "wer",
        output: str = "",
        lower: bool = True,
    ) -> None:
        try:
            import jiwer
        except ImportError:
            raise UserError(
                "task", "transcription needs jiwer", advice="pip install 'seatrial[speech]'"
            ) from None
        if metric not in METRICS:
            reason = f"{metric!r} is none of {', '.join(METRICS)}"
            raise UserError("task", reason, place="[task] metric")
        if not alphabet:
            raise UserError("task", "which character is which class?", place="[task] alphabet")
        self.name, self.output, self.lower = METRICS[metric], output, lower
        self.alphabet, self.blank = alphabet, blank
        self._count: Any = jiwer.process_words if metric == "wer" else jiwer.process_characters

    def text(self, outputs: Mapping[str, Any]) -> str:
        """What a sample's outputs say."""
        scores = numbers(outputs, self.output)
        one = tuple(k for k in (0, 1)[: max(scores.ndim - 2, 0)] if scores.shape[k] == 1)
        scores = scores.squeeze(one)
        if scores.ndim == 2:
            classes = scores.shape[1]
            if classes != len(self.alphabet) + 1:
                reason = f"{len(self.alphabet)} characters and a blank are not {classes} classes"
                raise UserError("task", reason, place="[task] alphabet")
        best = scores.argmax(axis=1) if scores.ndim == 2 else scores.astype(int).ravel()
        blank = self.blank if self.blank >= 0 else len(self.alphabet)
        symbols = [*self.alphabet[:blank], "", *self.alphabet[blank:]]
        return "".join(symbols[int(c)] for c, _ in itertools.groupby(best.tolist()))

    def statistics(self, outputs: Mapping[str, Any], label: Any) -> tuple[float, float]:
        """(errors, words or characters of the label)."""
        if not isinstance(label, str) or not label.strip():
            raise UserError("labels", f"{str(label)[:60]!r} is no text")
        said, wanted = self.text(outputs).strip(), label.strip()
        if self.lower:
            said, wanted = said.lower(), wanted.lower()
        found = self._count(wanted, said)
        errors = found.substitutions + found.deletions + found.insertions
        return float(errors), float(found.hits + found.substitutions + found.deletions)

    def of(self, total: Any) -> float:
        """Errors per word or character."""
        return ratio(total[0], total[1])
