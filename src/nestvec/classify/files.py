"""The file of a cascade: its fields as arrays and a JSON header, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nestvec.adapt import Rotation
from nestvec.classify.linear import Linear
from nestvec.classify.thresholds import Certificate
from nestvec.transforms.files import Arrays, FileKind, Header

CASCADE = FileKind("cascade", "nestvec classify fit", 1)


def pack(fields: Mapping[str, Any]) -> tuple[Arrays, Header]:
    """Arrays and header of a cascade with these fields."""
    sizes, rotation, certificate = fields["sizes"], fields["rotation"], fields["certificate"]
    arrays: Arrays = {}
    for place, size in enumerate(sizes):
        arrays |= {f"weight.{place}": size.weight, f"bias.{place}": size.bias}
    if rotation is not None:
        arrays["rotation"] = rotation.matrix
    header = {name: fields[name] for name in ("thresholds", "labels", "counts", "model")} | {
        "sizes": [{"temperature": size.temperature, "unit": size.unit} for size in sizes],
        "rotated": rotation is not None,
        "certificate": None if certificate is None else asdict(certificate),
    }
    return arrays, header


def unpack(arrays: Arrays, header: Header) -> dict[str, Any]:
    """Fields of the cascade; `KeyError`, `ValueError` or `TypeError` for nonsense."""
    certificate = header["certificate"]
    return {
        "sizes": tuple(
            Linear(arrays[f"weight.{place}"], arrays[f"bias.{place}"], **of_size)
            for place, of_size in enumerate(header["sizes"])
        ),
        "thresholds": tuple(header["thresholds"]),
        "labels": tuple(header["labels"]),
        "counts": tuple(header["counts"]),
        "certificate": None if certificate is None else Certificate(**certificate),
        "rotation": Rotation(arrays["rotation"]) if header["rotated"] else None,
        "model": header["model"],
    }
