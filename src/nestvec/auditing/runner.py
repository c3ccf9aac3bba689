"""Run of an audit: each variant is encoded and ranked once, then evaluated by every check."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.auditing.asymmetry import by_side
from nestvec.auditing.audit_inputs import AuditedVariant, AuditInputs
from nestvec.auditing.baseline import Baseline, rank_embeddings
from nestvec.auditing.checkpoint import AuditCheckpoint
from nestvec.auditing.checks import applicable_checks
from nestvec.auditing.compression.variant_encoder import VariantEncoder
from nestvec.auditing.compression.variants import equal_bytes, without_rerank
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.evaluation import VariantResult, evaluate_variant
from nestvec.auditing.measures.knee import knee
from nestvec.auditing.preflight import (
    check_duplicates,
    check_input_vectors,
    has_failed,
    self_tests,
)
from nestvec.auditing.reporting.report import AuditReport
from nestvec.auditing.reporting.schema import SCHEMA
from nestvec.auditing.reporting.worst_queries import quoted_texts
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import EmbeddingPair, K, PreflightCheck, Variant
from nestvec.auditing.verdict import (
    Verdict,
    apply_fixed_sequence,
    corrected_confidence,
    decide_verdict,
    safe_dims,
)
from nestvec.parallel import overlap
from nestvec.progress import Advance, Progress


def run_audit(
    inputs: AuditInputs, command: str, progress: Progress, checkpoint: str | Path | None = None
) -> AuditReport:
    """Audit every variant of the inputs; the report names `command` as what repeats the audit.

    The folder `checkpoint` keeps finished variants until all are finished; a run that was stopped
    continues from there.
    """
    batches = group_by_encoding(inputs.variants)
    opened = None if checkpoint is None else AuditCheckpoint.open(checkpoint, inputs)
    with progress("Auditing", len(inputs.full.queries) * (1 + len(batches))) as advance:
        baseline = Baseline.of(inputs, advance)
        preflight = _preflight(inputs)
        results = [*evaluate_all(baseline, batches, opened, advance)]
    if opened is not None:
        opened.remove()
    order = {audited.variant.name: row for row, audited in enumerate(inputs.variants)}
    results.sort(key=lambda result: order[result.variant.name])
    return AuditReport(_report(baseline, preflight, results, command))


def group_by_encoding(variants: Sequence[AuditedVariant]) -> list[list[AuditedVariant]]:
    """Put together the variants that differ in their rerank alone: these are encoded once."""

    def key(audited: AuditedVariant) -> str:
        is_ours = audited.embeddings is None and audited.plan_search is None
        return (without_rerank(audited.variant) if is_ours else audited.variant).name

    return [list(group) for _, group in groupby(sorted(variants, key=key), key)]


def evaluate_all(
    baseline: Baseline,
    batches: Sequence[Sequence[AuditedVariant]],
    checkpoint: AuditCheckpoint | None,
    advance: Advance,
) -> Iterator[VariantResult]:
    """Yield the results of all variants, in any order; those of the checkpoint come first.

    An evaluation takes one core, so the next batch is encoded and ranked meanwhile. At most two
    batches are in memory.
    """
    inputs, checks = baseline.inputs, applicable_checks(baseline)
    variants = [audited.variant for audited in inputs.variants]
    confidence = corrected_confidence(variants, inputs.thresholds.confidence)
    finished = {} if checkpoint is None else checkpoint.finished
    unfinished = []
    for batch in batches:
        names = [audited.variant.name for audited in batch]
        if all(name in finished for name in names):
            yield from (finished[name] for name in names)
            advance(len(inputs.full.queries))
        else:
            unfinished.append(batch)

    def evaluate_batch(batch: Sequence[EvaluatedVariant]) -> list[VariantResult]:
        results = []
        for evaluated in batch:
            results.append(evaluate_variant(checks, evaluated, confidence))
            if checkpoint is not None:
                checkpoint.append(results[-1])
        return results

    encoded = (encode_and_rank(baseline, batch, advance) for batch in unfinished)
    for results in overlap(encoded, evaluate_batch):
        yield from results


def encode_and_rank(
    baseline: Baseline, batch: Sequence[AuditedVariant], advance: Advance
) -> list[EvaluatedVariant]:
    """Encode a batch and rank it once, deep enough for its longest shortlist.

    The plan of a vector store is a batch by itself, and ranked by a search of that store.
    """
    inputs, plan_search = baseline.inputs, batch[0].plan_search
    if plan_search is not None:
        hits = plan_search.top_k(inputs.full.queries, K, inputs.self_match)
        advance(len(inputs.full.queries))
        variant = batch[0].variant
        return [EvaluatedVariant(baseline, variant, hits, plan_search=plan_search)]
    encoder, embeddings = _encode(inputs, batch[0])
    longest = max(audited.variant.rerank for audited in batch)
    depth = max(inputs.depth, min(longest, len(inputs.full.documents) - 1))
    (ranking, depths), distractors = rank_embeddings(
        inputs, embeddings, depth, baseline.ranking.rows[:, :K], advance
    )
    return [
        EvaluatedVariant(
            baseline, audited.variant, ranking, embeddings, encoder, depths, distractors
        )
        for audited in batch
    ]


def _encode(
    inputs: AuditInputs, audited: AuditedVariant
) -> tuple[VariantEncoder | None, EmbeddingPair]:
    if audited.embeddings is not None:
        return None, audited.embeddings
    variant, full = audited.variant, inputs.full
    rotation = inputs.rotation if variant.rotation == "pca" else None
    encoder, documents = VariantEncoder.fit_transform(
        full.documents, variant, inputs.unit, rotation, inputs.seed
    )
    return encoder, EmbeddingPair(encoder.encode_queries(full.queries), documents)


def _preflight(inputs: AuditInputs) -> list[PreflightCheck]:
    n_leaks, judgments = 0, inputs.judgments
    if judgments is not None:
        n_leaks = int((inputs.self_match[judgments.queries] == judgments.documents).sum())
    rng = generator(inputs.seed, "preflight")
    return [
        *check_input_vectors(inputs.full, inputs.self_match),
        *check_duplicates(inputs.full.documents, inputs.self_match, n_leaks),
        *self_tests(inputs.full, inputs.self_match, rng),
    ]


def _report(
    baseline: Baseline,
    preflight: Sequence[PreflightCheck],
    results: Sequence[VariantResult],
    command: str,
) -> dict[str, Any]:
    inputs = baseline.inputs
    variants = [result.variant for result in results]
    failed_preflight = preflight if has_failed(preflight) else ()
    separate = [
        decide_verdict(result.claims, (*failed_preflight, *result.preflight), inputs.thresholds)
        for result in results
    ]
    verdicts = apply_fixed_sequence(variants, separate)
    rivals = equal_bytes(variants)
    worst_queries = [query for result in results for query in result.worst_queries]
    return {
        "schema": SCHEMA,
        "nestvec": version("nestvec"),
        "created_at": None,
        "command": command,
        "seed": inputs.seed,
        "inputs": inputs.describe(),
        "thresholds": asdict(inputs.thresholds),
        "preflight": [asdict(check) for check in preflight],
        "full": {"metrics": baseline.metrics()},
        "variants": [
            _variant(result, verdict) | {"equal_bytes": rivals[result.variant.name]}
            for result, verdict in zip(results, verdicts, strict=True)
        ],
        "asymmetry": by_side(baseline, results),
        "safe_dims": safe_dims(variants, verdicts),
        "knee": _knee(inputs, results),
        "worst_queries": {result.variant.name: result.worst_queries for result in results},
        "texts": quoted_texts(inputs, worst_queries),
    }


def _variant(result: VariantResult, verdict: Verdict) -> dict[str, Any]:
    return {
        "name": result.variant.name,
        **asdict(result.variant),
        "size_bytes": result.variant.size_bytes(),
        "verdict": verdict.state,
        "reasons": list(verdict.reasons),
        "queries_needed": verdict.queries_needed,
        "metrics": result.metrics,
        "details": result.details,
        "preflight": [asdict(check) for check in result.preflight],
    }


def _knee(inputs: AuditInputs, results: Sequence[VariantResult]) -> dict[str, Any] | None:
    """Knee of nDCG@10 over the prefixes at full precision; None without judgments."""
    if inputs.judgments is None:
        return None
    prefixes = [result for result in results if result.variant == Variant(result.variant.dims)]
    if not prefixes:
        return None
    values = np.stack([result.primary_metric.variant_scores for result in prefixes], axis=1)
    dims = [result.variant.dims for result in prefixes]
    return knee(dims, values, generator(inputs.seed, "knee"))
