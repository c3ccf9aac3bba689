"""Checkpoint of an audit: a file with the results so far, from which a stopped audit continues."""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.auditing.audit_inputs import AuditInputs
from nestvec.auditing.evaluated import PrimaryMetric
from nestvec.auditing.evaluation import VariantResult
from nestvec.auditing.ranking.plan_search import PlanSearch
from nestvec.auditing.reporting.report import to_plain
from nestvec.auditing.reporting.schema import SCHEMA
from nestvec.auditing.types import PreflightCheck, Variant
from nestvec.auditing.verdict import Claim
from nestvec.encode import Encoder
from nestvec.json_text import parse_json
from nestvec.statistics import Estimate

FILE = "unfinished-audit.jsonl"
"""Name of the file in the checkpoint's folder."""

_logger = logging.getLogger("nestvec.auditing")


@dataclass(frozen=True)
class AuditCheckpoint:
    """A file with a line for the audit, then one for each finished variant; each with its SHA-256.

    Only the very same audit, by the same versions, continues from it: the file of another audit is
    replaced, and variants behind a damaged line are evaluated again. One process at a time may use
    it.
    """

    path: Path
    finished: Mapping[str, VariantResult]
    """By the name of the variant: the results that the file held when it was opened."""

    @classmethod
    def open(cls, folder: str | Path, inputs: AuditInputs) -> "AuditCheckpoint":
        """Open the checkpoint of these inputs in `folder`, and create the folder if needed."""
        path, head = Path(folder) / FILE, {"audit": fingerprint(inputs)}
        lines = [*_valid_lines(path)]
        if lines[:1] != [head]:
            if path.exists():
                _logger.warning("'%s' is of another audit, or damaged; starting anew", path)
            lines = [head]
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written again without damaged lines, so that new ones can be appended to valid ones.
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(map(_line, lines)), encoding="utf-8")
        fresh.replace(path)
        results = map(_result, lines[1:])
        return cls(path, {result.variant.name: result for result in results})

    def append(self, result: VariantResult) -> None:
        """Add the result of a variant, which is safe on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(_record(result)))
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the file, because the audit is complete."""
        self.path.unlink()


def fingerprint(inputs: AuditInputs) -> str:
    """SHA-256 of everything that figures depend on: all inputs, and the versions that compute."""
    digest = sha256()
    versions = [SCHEMA, *(version(name) for name in ("nestvec", "numpy", "scipy"))]
    for part in (*_parts(versions), *_parts(inputs)):
        # The length keeps ["ab", "c"] apart from ["a", "bc"].
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    """Bytes that tell a value from any other, however it is nested."""
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).reshape(-1).data.cast("B")
    elif isinstance(value, Encoder):
        yield from _parts(value.info)
    elif isinstance(value, PlanSearch):
        yield from _parts(value.version)
    elif is_dataclass(value):
        yield type(value).__name__.encode()
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield from _parts([*value.items()])
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | range):
        yield f"{len(value)} of".encode()
        for part in value:
            yield from _parts(part)
    else:
        yield repr(value).encode()


def _valid_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines up to the first whose checksum does not match."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        digest, _, text = line.partition(b" ")
        if digest.decode("ascii", "replace") != sha256(text).hexdigest():
            return
        yield parse_json(text)


def _line(value: dict[str, Any]) -> str:
    text = json.dumps(value)
    return f"{sha256(text.encode()).hexdigest()} {text}\n"


def _record(result: VariantResult) -> dict[str, Any]:
    """A result as JSON, which Python writes so that floats are read back exactly, infinity too."""
    primary = result.primary_metric
    scores = {
        "baseline_scores": primary.baseline_scores.tolist(),
        "variant_scores": primary.variant_scores.tolist(),
    }
    return {
        "variant": asdict(result.variant),
        "metrics": {name: _numbers(metric) for name, metric in result.metrics.items()},
        "details": to_plain(result.details),
        "preflight": [asdict(check) for check in result.preflight],
        "claims": [
            asdict(claim) | {"estimate": _numbers(claim.estimate)} for claim in result.claims
        ],
        "primary_metric": asdict(primary) | scores,
        "worst_queries": to_plain(result.worst_queries),
    }


def _result(record: dict[str, Any]) -> VariantResult:
    primary = record["primary_metric"]
    scores = {name: np.array(primary[name]) for name in ("baseline_scores", "variant_scores")}
    return VariantResult(
        Variant(**record["variant"]),
        {name: Estimate(*numbers) for name, numbers in record["metrics"].items()},
        record["details"],
        tuple(PreflightCheck(**check) for check in record["preflight"]),
        tuple(
            Claim(**claim | {"estimate": Estimate(*claim["estimate"])})
            for claim in record["claims"]
        ),
        PrimaryMetric(**primary | scores),
        record["worst_queries"],
    )


def _numbers(estimate: Estimate) -> list[float | int]:
    value, low, high, n = estimate
    return [float(value), float(low), float(high), int(n)]
