"""The core task of this room: runs in a child process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize import ops
from seatrial.samples import Samples

from . import causes, pairs, search, weight_causes
from . import types as t
from .case import JUDGED, Case, make_case
from .match import CORRECTION
from .observe import Observer
from .parameters import Parameter, Weights
from .stats import Restored, Seen, decibel

#: Samples that statistics of the layers are taken from, at most, and losses are the mean of, at
#: least.
LOOKED_AT, LEAST = 8, 8

#: Share of the time that the evaluations of sets may take when the samples are rationed.
SHARE = 0.6

#: Classes that are evaluated as groups, the rest as one.
CLASSES = 6


def diagnose(request: t.DiagnoseRequest, job: Job) -> t.Diagnosis:
    """Find out which quantisers cost accuracy, and why.

    Raises:
        UserError: the candidate has no Q/DQ pairs, or no samples were given.
    """
    started = time.monotonic()
    samples = Samples(job.path(request.samples))
    indices = request.indices or tuple(range(samples.count))
    if not indices:
        raise UserError("diagnosis", "no samples to look at")
    case = make_case(request, samples, indices, job)
    case.started = started
    return _Finding(case, job).result()


class _Finding:
    """One diagnosis, step by step."""

    def __init__(self, case: Case, job: Job) -> None:
        self.case = case
        self.job = job
        self.found = case.switched.found
        weights = self.found.weights.items()
        self.weights = [k for k, w in weights if w.known and not k.startswith(CORRECTION)]
        self.corrections = frozenset(k for k, _ in weights if k.startswith(CORRECTION))
        self.activations = list(self.found.activations)
        request = case.request
        self.losses = search.Evaluations(
            self._measure, request.evaluations, lambda: case.elapsed < request.budget_s
        )

    def _measure(self, on: frozenset[str]) -> float:
        done = len(self.losses.known) / self.case.request.evaluations
        self.job.progress(f"evaluation {len(self.losses.known) + 1}", min(1.0, done))
        return self.case.loss(self._corrected(on))

    def _corrected(self, on: frozenset[str]) -> frozenset[str]:
        """With the corrections, where most of what they make up for is on."""
        most = 2 * len(on) > len(self.activations) + len(self.weights)
        return on | self.corrections if most else on

    def result(self) -> t.Diagnosis:
        """Do it all."""
        self._observe()
        self._ration()
        everything = [*self.activations, *self.weights]
        total = self.losses.loss(everything)
        only_a = self.losses.loss(self.activations)
        only_w = self.losses.loss(self.weights) if self.weights else None
        parts = self._parts()
        groups = self._classes(parts)
        self.losses.reserve = self.case.request.worst
        found = search.worst(
            [members for _, _, members in parts],
            self.prior,
            self.losses,
            total=total,
            count=self.case.request.worst,
        )
        self.losses.reserve = 0
        culprits = self._culprits(found.alone, everything, total)
        order = self._order(found.estimates(self.prior))
        score = self.case.score(self._corrected(frozenset(everything)))
        return t.Diagnosis(
            rule="kl" if score.classification else "error",
            n=score.n,
            loss=total,
            weights=only_w,
            activations=only_a,
            groups=groups,
            layers=self.observer.table(),
            culprits=culprits,
            order=tuple(order),
            gains=tuple(order.values()),
            dominated=min(1.0, max(c.loss for c in culprits) / total)
            if culprits and total > 0
            else 0.0,
            evaluations=len(self.losses.known),
            quantisers=len(everything),
            seconds=round(self.case.elapsed, 3),
            complete=found.complete,
            dead=self._dead(),
            notes=tuple(self._notes()),
        )

    def _observe(self) -> None:
        self.observer = Observer(self.case.switched)
        for k, feeds in enumerate(self.case.feeds(LOOKED_AT), 1):
            self.job.progress(f"looking at every layer, sample {k}", 0.0)
            self.observer.add(feeds)
            if self.case.elapsed > 0.25 * self.case.request.budget_s:
                break
        self.prior = {k: _share(s.error, s.signal) for k, s in self.observer.seen.items()}
        for key in self.weights:
            entry = self.found.weights[key]
            parameter = entry.slots[min(entry.slots)]
            one = Restored.of(parameter, 0)
            self.prior[key] = _share(float(one.error.sum()), one.signal)

    def _ration(self) -> None:
        """As many samples as the time allows to judge every set on."""
        case = self.case
        case.prepare(1)
        case.loss([*self.activations, *self.weights])  # loads the session
        started = time.monotonic()
        case.loss([*self.activations, *self.weights])
        each = max(time.monotonic() - started, 1e-4)
        left = max(0.0, case.request.budget_s - case.elapsed) * SHARE
        wanted = int(left / each / case.request.evaluations)
        case.prepare(min(JUDGED, max(LEAST, wanted)))

    def _parts(self) -> list[tuple[str, str, list[str]]]:
        """Disjoint groups: activations by their most sensitive reader, weights by operator."""
        parts: dict[tuple[str, str], list[str]] = {}
        for key in self.activations:
            group = self.found.activations[key]
            kinds = [one.reader for one in group if one.reader != "output"] or ["output"]
            name = min(kinds, key=_sensitivity)
            text = "outputs of the model" if name == "output" else f"inputs of {name}"
            parts.setdefault((t.ACTIVATION, text), []).append(key)
        for key in self.weights:
            name = f"weights of {self.found.weights[key].kind}"
            parts.setdefault((t.WEIGHTS, name), []).append(key)
        return [(what, name, members) for (what, name), members in parts.items()]

    def _classes(self, parts: Sequence[tuple[str, str, list[str]]]) -> tuple[t.Group, ...]:
        """The groups, and the activations by what writes them as well, with their losses."""
        writers: dict[str, list[str]] = {}
        for key in self.activations:
            kind = self.found.activations[key][0].kind
            name = "the model's inputs" if kind == "input" else f"outputs of {kind}"
            writers.setdefault(name, []).append(key)
        most = sorted(writers.items(), key=lambda item: -len(item[1]))[:CLASSES]
        wanted = [*parts, *((t.ACTIVATION, name, members) for name, members in most)]
        groups = []
        for what, name, members in wanted:
            if self.losses.spent:
                break
            loss = self.losses.loss(members)
            groups.append(t.Group(name=name, what=what, members=len(members), loss=loss))
        return tuple(sorted(groups, key=lambda g: -g.loss))

    def _culprits(
        self, alone: Mapping[str, float], everything: Sequence[str], total: float
    ) -> tuple[t.Culprit, ...]:
        ranked = sorted(alone, key=lambda k: -alone[k])[: self.case.request.worst]
        made: list[t.Culprit] = []
        for key in ranked:
            if alone[key] <= search.NEGLIGIBLE * total and made:
                break
            without = None
            if not self.losses.spent:
                without = self.losses.loss(k for k in everything if k != key)
            made.append(self._culprit(key, alone[key], without))
        return weight_causes.roots_first(made)

    def _input(self, entry: Weights) -> Seen | None:
        """What a node multiplies its weights with."""
        seen = self.observer.seen.values()
        return next((one for one in seen if entry.node in one.one.readers), None)

    def _culprit(self, key: str, loss: float, without: float | None) -> t.Culprit:
        if key in self.found.weights:
            entry = self.found.weights[key]
            found = weight_causes.of_weights(entry, self._input(entry))
            parameter = entry.slots[min(entry.slots)]
            return t.Culprit(
                node=entry.node,
                op_type=entry.kind,
                nodes=(entry.node,),
                readers=(entry.node,),
                tensor=parameter.name,
                what=t.WEIGHTS,
                loss=loss,
                without=without,
                noise_db=_noise_db(parameter),
                cause=found[0],
                also=causes.codes(found),
            )
        group = self.found.activations[key]
        seen = self.observer.seen[key]
        found = causes.of_activation(seen, self.observer.seen.values(), self.case.table)
        one = group[0]
        return t.Culprit(
            node=one.node,
            op_type=one.kind,
            nodes=one.nodes,
            readers=tuple(dict.fromkeys(r for part in group for r in part.readers)),
            tensor=one.tensor,
            what=t.ACTIVATION,
            loss=loss,
            without=without,
            noise_db=seen.noise_db,
            cause=found[0],
            also=causes.codes(found),
        )

    def _order(self, estimates: Mapping[str, float]) -> dict[str, float]:
        """Quantised heavy nodes by the loss that goes if they are left in float.

        A tensor stays quantised while any of its readers or its writer wants it, so its loss is
        shared out among them.
        """
        graph = self.case.switched.graph
        heavy = {n.name for n in graph.nodes if n.op_type in ops.HEAVY}
        gains: dict[str, float] = {}
        for key, loss in estimates.items():
            if key in self.found.weights:
                nodes = [self.found.weights[key].node]
            else:
                group = self.found.activations[key]
                nodes = [r for part in group for r in part.readers]
                nodes += [n for part in group for n in part.nodes]
            touched = [n for n in dict.fromkeys(nodes) if n in heavy]
            for node in touched:
                gains[node] = gains.get(node, 0.0) + loss / len(touched)
        return dict(sorted(gains.items(), key=lambda item: -item[1]))

    def _dead(self) -> tuple[str, ...]:
        found = []
        for seen in self.observer.seen.values():
            count = seen.constant_channels() if seen.low is not None else 0
            if count and len(seen.low) > 1:
                found.append(f"{seen.one.tensor}: {count} of {len(seen.low)} channels")
        return tuple(found)

    def _notes(self) -> list[str]:
        notes = list(self.case.notes)
        if self.corrections:
            notes.append(
                f"the biases of {len(self.corrections)} nodes were corrected; layers are judged "
                "alone without that, so their losses may add up to more than the whole"
            )
        if self.case.missing and self.case.request.model is None:
            notes.append("no float model was given: weights could not be blamed")
        elif self.case.missing and not self.case.notes:
            notes.append(
                f"{self.case.missing} nodes have no counterpart in the float model: "
                "their weights could not be blamed"
            )
        return notes


def _sensitivity(kind: str) -> int:
    order = pairs.SENSITIVE
    return order.index(kind) if kind in order else len(order)


def _share(error: float, signal: float) -> float:
    return error / signal if signal > 0 else 0.0


def _noise_db(parameter: Parameter) -> float | None:
    one = Restored.of(parameter, 0)
    return decibel(one.signal, float(one.error.sum()))
