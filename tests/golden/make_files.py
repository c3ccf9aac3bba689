"""Make the golden files of transforms and cascades of this checkout: `make_files.py FOLDER`.

    git worktree add OLD COMMIT && PYTHONPATH=OLD/src python tests/golden/make_files.py FOLDER

`files_without_checksum` was made at 91f911f, the last commit that wrote no checksum. Golden files
are kept for ever: later versions must read from them what `expected.json` beside them says.
"""

import json
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np

from nestvec import Cascade
from nestvec.adapt import Chain, Linear, MatryoshkaAdaptor, Prefix, Rotation, Transform
from nestvec.adapt.report import FitReport, ScoresAtDims
from nestvec.classify.files import pack
from nestvec.classify.linear import LinearClassifier
from nestvec.classify.thresholds import AccuracyGuarantee
from nestvec.statistics import Estimate
from nestvec.transforms.residual import Map, Residual

DIM = 4


def numbers(*shape: int) -> np.ndarray:
    """Small whole numbers, on which float32 is exact, made without a random generator."""
    places = np.arange(np.prod(shape), dtype=np.int64) + sum(shape)
    return ((places * 2654435761 % 2**32 >> 16) % 5 - 2).reshape(shape).astype(np.float32)


def reversal() -> Rotation:
    """A rotation that reverses the dimensions: whole numbers stay whole."""
    return Rotation(np.ascontiguousarray(np.eye(DIM, dtype=np.float32)[::-1]))


def adaptor() -> MatryoshkaAdaptor:
    """An adaptor with a hidden layer for queries, and with a report."""
    hidden = Residual(numbers(DIM, 3), numbers(3), numbers(3, DIM))
    gain = Estimate(0.5, 0.25, 0.75, 9)
    size = ScoresAtDims(2, gain, gain, gain)
    report = FitReport(
        "ADAPTED", "overlap@10", gain, 0.25, 0.95, (size,), size, 7, 9, 3, 5, 0.5, 1,
        {"steps": 5}, ((1, 0.5),),
    )  # fmt: skip
    two_sided = Map(numbers(DIM, DIM)), Map(numbers(DIM, DIM), hidden)
    return MatryoshkaAdaptor(*two_sided, (2, 3), 0.5, report)


def transforms() -> dict[str, Transform]:
    """A transform of every kind."""
    return {
        "rotation": reversal(),
        "linear": Linear(numbers(DIM, 3), numbers(3)),
        "prefix": Prefix(DIM, 3),
        "adaptor": adaptor(),
        "chain": Chain.of(reversal(), adaptor(), Prefix(DIM, 3)),
    }


def cascades() -> dict[str, Cascade]:
    """A cascade of text labels with everything it may have, and one of numbers with nothing."""
    classifiers = (
        LinearClassifier(numbers(3, 2), numbers(3), 0.5),
        LinearClassifier(numbers(3, DIM), numbers(3), 2.0, unit=False),
    )
    model = {"name": "golden", "revision": None, "dim": DIM}
    guarantee = AccuracyGuarantee(0.1, 0.9, 100, 2, 0.0078125, 22)
    labels = ("é0", "é1", "é2")
    return {
        "cascade": Cascade(classifiers, (0.9375,), labels, (5, 4, 3), guarantee, reversal(), model),
        "cascade_plain": Cascade(classifiers, (2.0,), (3, 5, 8), (0, 0, 0)),
    }


def described(cascade: Cascade) -> dict[str, object]:
    """List predictions and facts of a cascade as JSON values, with the keys of its file."""
    labels, probability, dims_read = cascade.predict(numbers(9, DIM))
    _, header = pack({field.name: getattr(cascade, field.name) for field in fields(cascade)})
    return {
        "labels": labels.tolist(),
        "sure": probability.tolist(),
        "dims": dims_read.tolist(),
        "thresholds": list(cascade.thresholds),
        "counts": list(cascade.class_counts),
        "model": cascade.model,
        "certificate": header["certificate"],
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    expected: dict[str, object] = {}
    for name, transform in transforms().items():
        transform.save(folder / f"{name}.safetensors")
        rows = numbers(9, DIM)
        expected[name] = {
            "fingerprint": transform.fingerprint,
            "notes": transform.notes(),
            "documents": transform.transform(rows).tolist(),
            "queries": transform.transform_queries(rows).tolist(),
        }
    for name, cascade in cascades().items():
        cascade.save(folder / f"{name}.safetensors")
        expected[name] = described(cascade)
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (folder / "expected.json").write_text(f"{text}\n", encoding="utf-8")
