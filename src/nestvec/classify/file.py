"""A cascade as one `.safetensors` file: weights as tensors, all else as JSON in its header."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.adapt import Rotation
from nestvec.adapt.files import put_file
from nestvec.classify.cascade import Cascade
from nestvec.classify.linear import Linear
from nestvec.classify.thresholds import Certificate
from nestvec.errors import DataError, NestvecError

FORMAT = 1
_KEY = "nestvec.cascade"


def write(cascade: Cascade, path: Path) -> None:
    """Write the file in one step, in the place of any that is there."""
    certificate = cascade.certificate
    told = {
        "format": FORMAT,
        "labels": cascade.labels,
        "counts": cascade.counts,
        "thresholds": cascade.thresholds,
        "certificate": None if certificate is None else asdict(certificate),
        "rotated": cascade.rotation is not None,
        "model": cascade.model,
        "sizes": [{"temperature": size.temperature, "unit": size.unit} for size in cascade.sizes],
    }
    tensors: dict[str, np.ndarray] = {}
    for place, size in enumerate(cascade.sizes):
        tensors |= {f"weight.{place}": size.weight, f"bias.{place}": size.bias}
    if cascade.rotation is not None:
        tensors["rotation"] = cascade.rotation.matrix
    put_file(path, tensors, {_KEY: json.dumps(told)})


def read(path: Path) -> Cascade:
    """What `write` wrote, else `DataError`."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"there is no file '{path}'; check the path")
    try:
        with safe_open(path, "np") as file:
            told = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if told.get("format") != FORMAT:
                raise DataError(
                    f"'{path}' holds no cascade of format {FORMAT}; fit one with nestvec classify, "
                    "or read it with the nestvec that wrote it"
                )
            return _cascade(told, file)
    except NestvecError:
        raise
    except (SafetensorError, AttributeError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"'{path}' is damaged ({e}); fit the cascade again") from e


def _cascade(told: dict[str, Any], file: Any) -> Cascade:
    sizes = tuple(
        Linear(file.get_tensor(f"weight.{place}"), file.get_tensor(f"bias.{place}"), **of_size)
        for place, of_size in enumerate(told["sizes"])
    )
    certificate = told["certificate"]
    rotation = Rotation(file.get_tensor("rotation")) if told["rotated"] else None
    return Cascade(
        sizes,
        tuple(told["thresholds"]),
        tuple(told["labels"]),
        tuple(told["counts"]),
        None if certificate is None else Certificate(**certificate),
        rotation,
        told["model"],
    )
