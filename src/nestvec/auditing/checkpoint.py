"""What an unfinished audit has found so far, in a file: it goes on where it was stopped."""

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

from nestvec.auditing.evaluated import Kept
from nestvec.auditing.evaluation import Measured
from nestvec.auditing.reporting.report import SCHEMA, plain
from nestvec.auditing.task import Task
from nestvec.auditing.types import Check, Variant
from nestvec.auditing.verdict import Claim
from nestvec.encode import Encoder
from nestvec.statistics import Estimate

FILE = "unfinished-audit.jsonl"
"""What it is called in the folder that is given."""

_logger = logging.getLogger("nestvec.auditing")


@dataclass(frozen=True)
class Journal:
    """A line for what is audited, then one for each variant that is done; each with its digest.

    Only the very same audit, by the same versions, goes on with it: a file of another one is
    replaced, and what follows a damaged line is measured again. One process at a time may use it.
    """

    path: Path
    done: Mapping[str, Measured]
    """By the name of the variant: those that the file held when it was opened."""

    @classmethod
    def open(cls, folder: str | Path, task: Task) -> "Journal":
        """That of the task in `folder`, which is made if need be; fresh if there is none."""
        path, head = Path(folder) / FILE, {"audit": fingerprint(task)}
        lines = [*_sound_lines(path)]
        if lines[:1] != [head]:
            if path.exists():
                _logger.warning("'%s' is of another audit, or damaged; starting anew", path)
            lines = [head]
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written anew without what is damaged, so that lines can be added behind what is sound.
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(map(_line, lines)), encoding="utf-8")
        fresh.replace(path)
        return cls(path, {one["variant"]["name"]: _measured(one) for one in lines[1:]})

    def note(self, measured: Measured) -> None:
        """Add a variant, safe on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(_record(measured)))
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """The audit is complete."""
        self.path.unlink()


def fingerprint(task: Task) -> str:
    """SHA-256 of all that figures depend on: the whole task, and by what it is audited."""
    digest = sha256()
    made_by = [SCHEMA, *(version(name) for name in ("nestvec", "numpy", "scipy"))]
    for part in (*_parts(made_by), *_parts(task)):
        # The length keeps ["ab", "c"] apart from ["a", "bc"].
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    """What tells a value from any other, whatever it is made of."""
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).reshape(-1).data.cast("B")
    elif isinstance(value, Encoder):
        yield from _parts(value.info)
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


def _sound_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines up to the first that is not as it was written."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        digest, _, text = line.partition(b" ")
        if digest.decode("ascii", "replace") != sha256(text).hexdigest():
            return
        yield json.loads(text)


def _line(value: dict[str, Any]) -> str:
    text = json.dumps(value)
    return f"{sha256(text.encode()).hexdigest()} {text}\n"


def _record(measured: Measured) -> dict[str, Any]:
    """As JSON, which Python writes so that every float is read back as it was, infinity too."""
    kept = measured.kept
    return {
        "variant": {"name": measured.variant.name, **asdict(measured.variant)},
        "metrics": {name: _estimate(one) for name, one in measured.metrics.items()},
        "details": plain(measured.details),
        "checks": [asdict(check) for check in measured.checks],
        "claims": [asdict(one) | {"estimate": _estimate(one.estimate)} for one in measured.claims],
        "kept": asdict(kept) | {"before": kept.before.tolist(), "after": kept.after.tolist()},
        "worst": plain(measured.worst),
    }


def _measured(record: dict[str, Any]) -> Measured:
    variant, kept = {**record["variant"]}, record["kept"]
    del variant["name"]
    return Measured(
        Variant(**variant),
        {name: Estimate(*one) for name, one in record["metrics"].items()},
        record["details"],
        tuple(Check(**check) for check in record["checks"]),
        tuple(Claim(**one | {"estimate": Estimate(*one["estimate"])}) for one in record["claims"]),
        Kept(**kept | {"before": np.array(kept["before"]), "after": np.array(kept["after"])}),
        record["worst"],
    )


def _estimate(estimate: Estimate) -> list[float | int]:
    value, low, high, n = estimate
    return [float(value), float(low), float(high), int(n)]
