"""Variants: read from what a caller writes, and the grid where nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np

from nestvec.auditing.types import FULL_BITS, Side, Variant
from nestvec.errors import InputError
from nestvec.vectors import check_dims

BITS = (32, 8, 4, 2, 1)
ROTATIONS = ("none", "pca", "random")
SIDES: tuple[str, ...] = get_args(Side)
GRID_BITS = (32, 8, 1)
LEAST_DIMS = 16
RESCORED = 100


def read_variant(given: Mapping[str, Any], width: int) -> Variant:
    """A variant of vectors of `width` dimensions from its fields: {"dims": 64, "bits": 1}.

    Only `dims` is needed. `InputError` for an unknown field, a value out of range, or a field that
    would do nothing.
    """
    known = [field.name for field in fields(Variant)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InputError(f"variant {dict(given)} has {unknown[0]!r}; known are {', '.join(known)}")
    if "dims" not in given:
        raise InputError(f"variant {dict(given)} has no dims; say how many dimensions it keeps")
    dims = check_dims(given["dims"], width)
    bits, side = given.get("bits", FULL_BITS), given.get("side", "both")
    _check_choice("bits", bits, BITS)
    _check_choice("rotation", given.get("rotation", "none"), ROTATIONS)
    _check_choice("side", side, SIDES)
    if not _is_count(given.get("rescore", 0)):
        raise InputError(f"rescore={given['rescore']!r} is not a number of answers; 0 is for none")
    if side != "both" and bits == FULL_BITS:
        raise InputError(
            f"side={side!r} does nothing at {FULL_BITS} bits; leave it out, or use codes"
        )
    return Variant(**{**given, "dims": dims})


def default_grid(width: int) -> tuple[Variant, ...]:
    """Halvings of the width at 32, 8 and 1 bits, then the controls.

    Controls take the bytes of a float prefix in another way: as many random dimensions, or as many
    principal ones. Codes of 4 and 32 times as many dimensions take the same bytes too and are in
    the grid, as are the codes of 1 bit with the best 100 rescored by full vectors.
    """
    halvings = _halvings(width)
    grid = [Variant(dims, bits) for bits in GRID_BITS for dims in halvings]
    rescored = [Variant(dims, 1, rescore=RESCORED) for dims in halvings]
    controls = [
        Variant(dims, rotation=rotation, control=f"as many bytes as {dims} dims")
        for rotation in ("random", "pca")
        for dims in halvings[1:]
    ]
    return (*grid, *rescored, *controls)


def product(
    width: int, dims: Sequence[int] | None, bits: Sequence[int] | None
) -> list[dict[str, int]]:
    """Every one of `dims` at every one of `bits`, as a caller writes variants.

    None of either: those of the default grid.
    """
    return [{"dims": d, "bits": b} for b in bits or GRID_BITS for d in dims or _halvings(width)]


def equal_bytes(variants: Sequence[Variant]) -> dict[str, list[str]]:
    """For each variant, the others whose documents take as many bytes."""
    return {
        one.name: [
            other.name
            for other in variants
            if other.size_bytes() == one.size_bytes() and other != one
        ]
        for one in variants
    }


def without_rescoring(variant: Variant) -> Variant:
    """The variant whose answers it rescores: both are ranked at once."""
    return replace(variant, rescore=0, control=None)


def _halvings(width: int) -> list[int]:
    dims = [width]
    while dims[-1] // 2 >= LEAST_DIMS:
        dims.append(dims[-1] // 2)
    return dims


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if isinstance(value, bool) or value not in choices:
        raise InputError(
            f"{name}={value!r} is not known; use one of {', '.join(map(str, choices))}"
        )


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return int(value) >= 0
