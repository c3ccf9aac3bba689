"""The audit: one encode and one ranking per variant, then all that is to be said of it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.auditing.baseline import Exact, ranked
from nestvec.auditing.checkpoint import Journal
from nestvec.auditing.checks import Family, families
from nestvec.auditing.compression.compressor import Transform
from nestvec.auditing.compression.variants import equal_bytes, without_rescoring
from nestvec.auditing.evaluated import Made
from nestvec.auditing.evaluation import Measured, measure
from nestvec.auditing.measures.asymmetry import by_side
from nestvec.auditing.measures.knee import knee
from nestvec.auditing.preflight import check_rows, check_vectors_given, has_failed, self_checks
from nestvec.auditing.reporting.report import SCHEMA, Report
from nestvec.auditing.reporting.worst_queries import texts_of
from nestvec.auditing.seeding import generator
from nestvec.auditing.task import Candidate, Task
from nestvec.auditing.types import Check, Encoded, K, Variant
from nestvec.auditing.verdict import Verdict, in_sequence, judge, safe_dims, shared_confidence
from nestvec.progress import Advance, Progress


def run(task: Task, command: str, progress: Progress, resume: str | Path | None = None) -> Report:
    """Audit every candidate of the task; `command` is what would do so again.

    In the folder `resume` is kept what is done, until all is: what was stopped goes on from there.
    """
    batches = _batches(task.candidates)
    journal = None if resume is None else Journal.open(resume, task)
    with progress("Auditing", len(task.full.queries) * (1 + len(batches))) as advance:
        exact = Exact.of(task, advance)
        preflight = _preflight(task)
        measured = [*_measure_all(exact, batches, journal, advance)]
    if journal is not None:
        journal.remove()
    order = {candidate.variant.name: row for row, candidate in enumerate(task.candidates)}
    measured.sort(key=lambda one: order[one.variant.name])
    return Report(_content(exact, preflight, measured, command))


def _batches(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates that differ in rescoring alone are encoded and ranked once."""

    def key(candidate: Candidate) -> str:
        variant = candidate.variant
        return (without_rescoring(variant) if candidate.encoded is None else variant).name

    return [list(group) for _, group in groupby(sorted(candidates, key=key), key)]


def _measure_all(
    exact: Exact,
    batches: Sequence[Sequence[Candidate]],
    journal: Journal | None,
    advance: Advance,
) -> Iterator[Measured]:
    """While a batch is measured, which takes one core, the next is made: two are held at most."""
    task, asked = exact.task, families(exact)
    variants = [candidate.variant for candidate in task.candidates]
    confidence = shared_confidence(variants, task.thresholds.confidence)
    done = {} if journal is None else journal.done
    with ThreadPoolExecutor(1) as pool:
        busy: Future[list[Measured]] | None = None
        for batch in batches:
            names = [candidate.variant.name for candidate in batch]
            if all(name in done for name in names):
                yield from (done[name] for name in names)
                advance(len(task.full.queries))
                continue
            made = [*_make(exact, batch, advance)]
            if busy is not None:
                yield from busy.result()
            busy = pool.submit(_measure, asked, made, confidence, journal)
        if busy is not None:
            yield from busy.result()


def _measure(
    asked: Sequence[Family], batch: Sequence[Made], confidence: float, journal: Journal | None
) -> list[Measured]:
    measured = []
    for made in batch:
        measured.append(measure(asked, made, confidence))
        if journal is not None:
            journal.note(measured[-1])
    return measured


def _make(exact: Exact, batch: Sequence[Candidate], advance: Advance) -> Iterator[Made]:
    """Encode and rank once, deep enough for all of the batch, which is rescored for each."""
    task = exact.task
    transform, encoded = _encode(task, batch[0])
    deepest = max(candidate.variant.rescore for candidate in batch)
    depth = max(task.depth, min(deepest, len(task.full.documents) - 1))
    found, standing = ranked(task, encoded, depth, exact.ranking.rows[:, :K], advance)
    for candidate in batch:
        yield Made(exact, candidate.variant, transform, encoded, found, standing)


def _encode(task: Task, candidate: Candidate) -> tuple[Transform | None, Encoded]:
    if candidate.encoded is not None:
        return None, candidate.encoded
    variant, full = candidate.variant, task.full
    rotation = task.rotation if variant.rotation == "pca" else None
    transform, documents = Transform.fit_transform(
        full.documents, variant, task.unit, rotation, task.seed
    )
    return transform, Encoded(transform.queries(full.queries), documents)


def _preflight(task: Task) -> list[Check]:
    itself = 0
    if task.judged is not None:
        itself = int((task.own[task.judged.queries] == task.judged.documents).sum())
    rng = generator(task.seed, "preflight")
    return [
        *check_vectors_given(task.full, task.own),
        *check_rows(task.full.documents, task.own, itself),
        *self_checks(task.full, task.own, rng),
    ]


def _content(
    exact: Exact, preflight: Sequence[Check], measured: Sequence[Measured], command: str
) -> dict[str, Any]:
    task = exact.task
    variants = [one.variant for one in measured]
    stopping = preflight if has_failed(preflight) else ()
    alone = [judge(one.claims, (*stopping, *one.checks), task.thresholds) for one in measured]
    verdicts = in_sequence(variants, alone)
    rivals = equal_bytes(variants)
    return {
        "schema": SCHEMA,
        "nestvec": version("nestvec"),
        "made": None,
        "command": command,
        "seed": task.seed,
        "inputs": task.describe(),
        "thresholds": asdict(task.thresholds),
        "preflight": [asdict(check) for check in preflight],
        "full": {"metrics": exact.metrics()},
        "variants": [
            _variant(one, verdict) | {"equal_bytes": rivals[one.variant.name]}
            for one, verdict in zip(measured, verdicts, strict=True)
        ],
        "asymmetry": by_side(exact, measured),
        "safe_dims": safe_dims(variants, verdicts),
        "knee": _knee(task, measured),
        "worst_queries": {one.variant.name: one.worst for one in measured},
        "texts": texts_of(task, measured),
    }


def _variant(one: Measured, verdict: Verdict) -> dict[str, Any]:
    return {
        "name": one.variant.name,
        **asdict(one.variant),
        "bytes": one.variant.size_bytes(),
        "verdict": verdict.state,
        "reasons": list(verdict.reasons),
        "queries_needed": verdict.queries_needed,
        "metrics": one.metrics,
        "details": one.details,
        "preflight": [asdict(check) for check in one.checks],
    }


def _knee(task: Task, measured: Sequence[Measured]) -> dict[str, Any] | None:
    """Of nDCG@10 over the prefixes at full precision; None without judgements."""
    if task.judged is None:
        return None
    plain = [one for one in measured if one.variant == Variant(one.variant.dims)]
    if not plain:
        return None
    values = np.stack([one.kept.after for one in plain], axis=1)
    return knee([one.variant.dims for one in plain], values, generator(task.seed, "knee"))
