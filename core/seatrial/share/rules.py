"""What every text of the report's schema is, as far as sharing is concerned.

A text is named by the definition of the schema in which it stands and its path from there, as
:func:`seatrial.share.places.walk` gives it: ``model.path``, ``built.findings[].node``. A text that
no rule names is :data:`TEXT`, which is searched for every secret that is known, and a test holds
the rules against the schema, so that a new key cannot be forgotten.
"""

from __future__ import annotations

INTERNAL, CUSTOMER, PUBLIC = "internal", "customer", "public"
LEVELS = (INTERNAL, CUSTOMER, PUBLIC)

#: Our own vocabulary, versions, digests and numbers in words: nothing of anybody's.
KEEP = "keep"
#: Sentences that may quote anything: secrets in them are replaced.
TEXT = "text"
#: A file, a folder, a source or the user's own ``MODULE:CALLABLE``.
PATH = "path"
#: One sample, usually a file's name.
SAMPLE = "sample"
#: A log, or where one lies.
LOG = "log"
#: A small picture of a sample.
PICTURE = "picture"
#: Names inside the model.
NODE, TENSOR, MODULE = "node", "tensor", "module"
#: A domain or operator type; the standard's own are kept.
OPERATOR = "operator"
#: A class label or a value of a metadata column.
LABEL = "label"

#: What each level takes away, in the order in which it is listed.
TAKEN: dict[str, tuple[str, ...]] = {
    INTERNAL: (),
    CUSTOMER: (PATH, SAMPLE, LOG, PICTURE),
    PUBLIC: (PATH, SAMPLE, LOG, PICTURE, NODE, TENSOR, MODULE, OPERATOR, LABEL),
}

#: Place in the schema -> what stands there; ``*``: any key of an open object, ``{keys}``: the keys.
RULES: dict[str, str] = {
    "model.path": PATH,
    "model.external_files[]": PATH,
    "tensor.name": TENSOR,
    "shape[]": TENSOR,
    "model.op_types.{keys}": OPERATOR,
    "model.opsets.{keys}": OPERATOR,
    "model.producer": TEXT,
    "graph.nodes[].node": NODE,
    "graph.nodes[].op_type": OPERATOR,
    "graph.nodes[].domain": OPERATOR,
    "$.input_contract.{keys}": TENSOR,
    "$.command_line[]": TEXT,
    "$.next[]": TEXT,
    "$.missing[]": TEXT,
    "$.files[].path": PATH,
    "$.not_finite[].path": TEXT,
    "data_source.source": PATH,
    "data_source.how": TEXT,
    "data_source.notes[]": TEXT,
    "reason.text": TEXT,
    "$.logs[].path": LOG,
    "$.logs[].tail": LOG,
    # calibration
    "calibration.thumbnails[].id": SAMPLE,
    "calibration.thumbnails[].picture": PICTURE,
    "calibration.histograms[].tensor": TENSOR,
    "calibration.findings[].text": TEXT,
    "calibration.findings[].advice": TEXT,
    "calibration.findings[].samples[]": SAMPLE,
    "calibration.findings[].pairs[][]": SAMPLE,
    "calibration.findings[].tensors[]": TENSOR,
    "audit.checks[].reason": TEXT,
    "audit.sets[].location": PATH,
    "audit.stability.tensor": TENSOR,
    "audit.stability.text": TEXT,
    "audit.ranges[].tensor": TENSOR,
    "audit.ranges[].sample": SAMPLE,
    "audit.growth.text": TEXT,
    "audit.coverage.features": TENSOR,
    "audit.coverage.clusters[].samples[]": SAMPLE,
    "audit.classes.{keys}": LABEL,
    "audit.scales[].tensor": TENSOR,
    "facts.*": TEXT,
    "facts.*[]": TEXT,
    "facts.{keys}": KEEP,
    # quantisation
    "candidate.reason": TEXT,
    "diagnosis_group.name": TEXT,
    "diagnosis_layer.node": NODE,
    "diagnosis_layer.tensor": TENSOR,
    "diagnosis_layer.op_type": OPERATOR,
    "diagnosis_culprit.node": NODE,
    "diagnosis_culprit.nodes[]": NODE,
    "diagnosis_culprit.readers[]": NODE,
    "diagnosis_culprit.tensor": TENSOR,
    "diagnosis_culprit.op_type": OPERATOR,
    "diagnosis_culprit.also[]": TEXT,
    "diagnosis_cause.text": TEXT,
    "diagnosis_cause.advice": TEXT,
    "diagnosis_node.node": NODE,
    "diagnosis.dead[]": NODE,
    "diagnosis.notes[]": TEXT,
    "recovery.reason": TEXT,
    "recovery.advice[]": TEXT,
    "recovery.notes[]": TEXT,
    "recovery_point.nodes[]": NODE,
    "recovery_point.reason": TEXT,
    "recovery_price.reason": TEXT,
    "recovery_statement.text": TEXT,
    "int8.float_nodes[]": NODE,
    "int8.notes[]": TEXT,
    "advice.text": TEXT,
    "advice_item.text": TEXT,
    "advice_item.nodes[]": NODE,
    # targets
    "first_break.text": TEXT,
    "first_break.layer": NODE,
    "first_break.layers[]": NODE,
    "first_break.tensor": TENSOR,
    "ladder_row.reason": TEXT,
    "ladder_row.ran_on": TEXT,
    "availability.reason": TEXT,
    "availability.install_hint": TEXT,
    "availability.devices[]": TEXT,
    "claimed.claims[].node": NODE,
    "claimed.claims[].op_type": OPERATOR,
    "claimed.claims[].domain": OPERATOR,
    "claimed.claims[].reason": TEXT,
    "claimed.claims[].source": TEXT,
    "claimed.sources[]": TEXT,
    "claimed.notes[]": TEXT,
    "built_precision.notes[]": TEXT,
    "built.findings[].node": NODE,
    "built.findings[].op_type": OPERATOR,
    "built.findings[].domain": OPERATOR,
    "built.findings[].reason": TEXT,
    "built.findings[].advice": TEXT,
    "built.findings[].on": TEXT,
    "ran.device": TEXT,
    "execution.layers[].layer": NODE,
    "execution.layers[].nodes[]": NODE,
    "execution.layers[].op_type": TEXT,
    "execution.layers[].on": TEXT,
    "execution.layers[].kernel": TEXT,
    "execution.notes[]": TEXT,
    "layout.reason": TEXT,
    "layout.variants[].reason": TEXT,
    "layout.variants[].refused[].node": NODE,
    "layout.variants[].refused[].op_type": OPERATOR,
    "layout.variants[].refused[].reason": TEXT,
    "generality.text": TEXT,
    "optimisation.fused[].kinds": TEXT,
    "optimisation.fused[].example[]": NODE,
    "optimisation.folded[]": NODE,
    "optimisation.inserted[].op_type": TEXT,
    "optimisation.reason": TEXT,
    "pace.causes[].text": TEXT,
    "pace.causes[].layers[]": NODE,
    "pace.tried[].nodes[]": NODE,
    "pace.tried[].reason": TEXT,
    "pace.text": TEXT,
    "ranking.model": PATH,
    "bench_row.model": PATH,
    "bench_row.notes[]": TEXT,
    "bench_row.speedup.cause": TEXT,
    "fault.reason": TEXT,
    "fault.log": LOG,
    "fault_row.reason": TEXT,
    "fault_row.log": LOG,
    # export and training
    "export.source": PATH,
    "export.reasons[]": TEXT,
    "export.opset_reason": TEXT,
    "export.notes[]": TEXT,
    "export_attempt.reason": TEXT,
    "export_parity.output": TENSOR,
    "export_parity.reason": TEXT,
    "export_parity.worst": SAMPLE,
    "export_axis.input": TENSOR,
    "export_axis.evidence": TEXT,
    "export_axis.file": PATH,
    "export_problem.text": TEXT,
    "export_problem.advice": TEXT,
    "export_problem.file": PATH,
    "export_problem.module": MODULE,
    "export_problem.op": OPERATOR,
    "export_node.label": NODE,
    "export_node.op_type": OPERATOR,
    "export_node.domain": OPERATOR,
    "export_node.file": PATH,
    "export_node.module": MODULE,
    "export_node.advice": TEXT,
    "export_divergence.node": NODE,
    "export_divergence.op_type": OPERATOR,
    "export_divergence.tensor": TENSOR,
    "export_divergence.file": PATH,
    "export_divergence.module": MODULE,
    "export_divergence.region[]": NODE,
    "export_recipe.reason": TEXT,
    "qat.train": PATH,
    "qat.validation": PATH,
    "qat.loss": PATH,
    "qat.method": TEXT,
    "qat_export.path": PATH,
}

#: Texts that come from our own vocabulary or a version; all else in the schema has a rule above.
OWN = frozenset({
    "audit.growth.method", "first_break.against", "ladder_row.also.{keys}", "first_break.rung",
    "reason.code", "reason.target", "$.created", "$.timings[].stage", "$.files[].role",
    "$.files[].sha256", "model.sha256", "model.format", "tensor.dtype", "export.kind",
    "export.torch", "export.route", "export_attempt.route", "export_attempt.sha256",
    "export_problem.code", "export_problem.route", "export_node.refused_by[]",
    "export_recipe.recipe", "export_recipe.targets[].target", "data_source.kind",
    "data_source.sha256", "calibration.method", "calibration.scheme", "calibration.findings[].code",
    "calibration.findings[].rule", "calibration.cost.table_sha256", "audit.checks[].name",
    "audit.sets[].kind", "audit.alternatives[].name", "audit.scales[].name", "candidate.name",
    "candidate.source", "candidate.scheme", "candidate.sha256", "fault.stage", "fault.signal",
    "diagnosis.candidate", "diagnosis.sha256", "diagnosis_cause.facts.{keys}",
    "recovery.candidate", "recovery.rule", "recovery.chosen", "recovery_point.name",
    "recovery_point.sha256", "recovery_price.target", "recovery_price.precision",
    "recovery_statement.target", "ladder_row.target", "ladder_row.source", "ladder_row.against",
    "ladder_row.artifact", "ladder_row.metric", "ladder_row.unit", "ladder_row.right[]",
    "target.target", "target.id", "target.plugin.id", "target.plugin.dist",
    "target.plugin.version", "target.title", "target.machine_class", "availability.versions.*",
    "availability.versions.{keys}", "availability.instruction_sets[]",
    "claimed.claims[].confidence", "built_precision.precision", "artifact.format",
    "artifact.sha256", "ran.instruction_set", "execution.precisions.{keys}",
    "execution.layouts.{keys}", "execution.layers[].precision", "execution.layers[].layout",
    "layout.native", "layout.chosen", "layout.variants[].layout", "layout.variants[].method",
    "layout.variants[].dtype", "layout.variants[].runtime", "layout.runtime",
    "generality.precision", "optimisation.layouts.{keys}", "optimisation.off", "pace.recommend",
    "pace.tried[].name", "pace.tried[].against", "conditions.cpus", "conditions.governor",
    "conditions.energy", "conditions.energy_reason", "conditions.disturbances[]",
    "ranking.places[][]", "ranking.text",
    "int8.source", "int8.method", "bench_row.artifact", "bench_row.precision", "bench_row.layout",
    "bench_row.speedup.against", "fault_row.target", "fault_row.stage", "fault_row.signal",
    "sla.max_latency.quantile", "sla.defaults[]", "environment.seatrial", "environment.python",
    "environment.platform", "environment.cpu.model", "environment.cpu.flags[]",
    "environment.cpu.governor", "environment.packages.*", "environment.packages.{keys}",
    "qat_export.dialect", "advice_item.code", "sharing.removed[].what",
    "sharing.removed[].how",
})  # fmt: skip


def kind(place: str) -> str:
    """What stands at a place of the schema; :data:`TEXT` where no rule says."""
    return KEEP if place in OWN else RULES.get(place, TEXT)
