"""The file of a cascade: its fields as arrays and a JSON header, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nestvec.adapt import Rotation
from nestvec.classify.linear import LinearClassifier
from nestvec.classify.thresholds import AccuracyGuarantee
from nestvec.transforms.files import Arrays, FileKind, Header

CASCADE = FileKind("cascade", "nestvec classify fit", 1)
_GUARANTEE_KEYS = {"rows_needed": "needed"}
"""Fields of the guarantee whose keys in files have the names of the first version."""


def pack(fields: Mapping[str, Any]) -> tuple[Arrays, Header]:
    """Turn the fields of a cascade into arrays and a header.

    The header has the keys of the first version: `sizes` for classifiers, `counts` for class
    counts, `certificate` for the guarantee.
    """
    classifiers, rotation, guarantee = (
        fields[name] for name in ("classifiers", "rotation", "guarantee")
    )
    arrays: Arrays = {}
    for place, classifier in enumerate(classifiers):
        arrays |= {f"weight.{place}": classifier.weight, f"bias.{place}": classifier.bias}
    if rotation is not None:
        arrays["rotation"] = rotation.matrix
    header = {name: fields[name] for name in ("thresholds", "labels", "model")} | {
        "counts": fields["class_counts"],
        "sizes": [{"temperature": c.temperature, "unit": c.unit} for c in classifiers],
        "rotated": rotation is not None,
        "certificate": None if guarantee is None else _guarantee_entry(guarantee),
    }
    return arrays, header


def unpack(arrays: Arrays, header: Header) -> dict[str, Any]:
    """Turn arrays and a header into the fields of a cascade.

    `KeyError`, `ValueError` or `TypeError` for those of no cascade.
    """
    entry = header["certificate"]
    return {
        "classifiers": tuple(
            LinearClassifier(arrays[f"weight.{place}"], arrays[f"bias.{place}"], **options)
            for place, options in enumerate(header["sizes"])
        ),
        "thresholds": tuple(header["thresholds"]),
        "labels": tuple(header["labels"]),
        "class_counts": tuple(header["counts"]),
        "guarantee": None if entry is None else _guarantee(entry),
        "rotation": Rotation(arrays["rotation"]) if header["rotated"] else None,
        "model": header["model"],
    }


def _guarantee_entry(guarantee: AccuracyGuarantee) -> dict[str, Any]:
    return {_GUARANTEE_KEYS.get(name, name): value for name, value in asdict(guarantee).items()}


def _guarantee(entry: Mapping[str, Any]) -> AccuracyGuarantee:
    names = {key: name for name, key in _GUARANTEE_KEYS.items()}
    return AccuracyGuarantee(**{names.get(key, key): value for key, value in entry.items()})
