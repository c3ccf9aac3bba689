"""Variants of an audit: read from dicts, or the default grid."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np

from nestvec.auditing.types import FULL_BITS, K, Side, Variant
from nestvec.deprecation import renamed_keys, warn_renamed
from nestvec.errors import InputError
from nestvec.plan import Plan
from nestvec.vectors import check_dims

BITS = (32, 8, 4, 2, 1)
ROTATIONS = ("none", "pca")
SIDES: tuple[str, ...] = get_args(Side)
GRID_BITS = (32, 8, 1)
MIN_DIMS = 16
"""Narrower prefixes are not in the default grid; they hardly rank anything."""
RERANK_DEPTH = 100
"""Shortlist of the default grid's reranked variants."""


def read_variant(options: Mapping[str, Any], width: int) -> Variant:
    """Read a variant of vectors of `width` dimensions: {"dims": 64, "bits": 1}.

    Only `dims` is required. `InputError` for an unknown field, a value out of range, or a field
    that would do nothing.
    """
    options = _current_names(options)
    names = [field.name for field in fields(Variant)]
    unknown = [name for name in options if name not in names]
    if unknown:
        raise InputError(
            f"variant {dict(options)} has {unknown[0]!r}; known are {', '.join(names)}"
        )
    if "dims" not in options:
        raise InputError(f"variant {dict(options)} has no dims; say how many dimensions it keeps")
    dims = check_dims(options["dims"], width)
    _check_values(options)
    variant = Variant(**{**options, "dims": dims})
    _check_effect(variant)
    return variant


def plan_variant(plan: Plan, width: int) -> Variant:
    """Describe a search plan as a variant of vectors of `width` dimensions.

    `PlanError` for a plan that cannot return 10 hits from them.
    """
    plan.check(width, K)
    stages = plan.stages
    return Variant(
        dims=max((stage.dims for stage in stages), default=width),
        bits=max((stage.bits for stage in stages), default=FULL_BITS),
        plan=str(plan),
    )


def default_grid(width: int) -> tuple[Variant, ...]:
    """Halvings of the width at 32, 8 and 1 bits, reranked codes of 1 bit, then the controls.

    Controls spend the bytes of a float prefix in another way: on as many random dims, or as many
    leading dimensions after the PCA rotation. Codes of 4 and 32 times as many dimensions take the
    same bytes too and are in the grid.
    """
    halvings = _halvings(width)
    prefixes = [Variant(dims, bits) for bits in GRID_BITS for dims in halvings]
    reranked = [Variant(dims, 1, rerank=RERANK_DEPTH) for dims in halvings]
    narrower = [(dims, f"as many bytes as {dims} dims") for dims in halvings[1:]]
    random = [Variant(dims, random_dims=True, control=reason) for dims, reason in narrower]
    pca = [Variant(dims, rotation="pca", control=reason) for dims, reason in narrower]
    return (*prefixes, *reranked, *random, *pca)


def product(
    width: int, dims: Sequence[int] | None, bits: Sequence[int] | None
) -> list[dict[str, int]]:
    """Combine every dims with every bits, as dicts that `read_variant` reads.

    None stands for those of the default grid.
    """
    return [{"dims": d, "bits": b} for b in bits or GRID_BITS for d in dims or _halvings(width)]


def equal_bytes(variants: Sequence[Variant]) -> dict[str, list[str]]:
    """Names of the other variants whose documents take as many bytes, by each variant's name."""
    return {
        variant.name: [
            rival.name
            for rival in variants
            if rival.size_bytes() == variant.size_bytes() and rival != variant
        ]
        for variant in variants
    }


def without_rerank(variant: Variant) -> Variant:
    """Return the variant whose ranking is reranked: both are encoded and ranked at once."""
    return replace(variant, rerank=0, control=None)


def _current_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the fields of variants as they were named before schema 2 of the report."""
    current = renamed_keys(options, {"rescore": "rerank"}, "a variant")
    if current.get("rotation") == "random":
        warn_renamed('rotation="random"', "random_dims=True")
        current |= {"rotation": "none", "random_dims": True}
    return current


def _halvings(width: int) -> list[int]:
    dims = [width]
    while dims[-1] // 2 >= MIN_DIMS:
        dims.append(dims[-1] // 2)
    return dims


def _check_values(options: Mapping[str, Any]) -> None:
    _check_choice("bits", options.get("bits", FULL_BITS), BITS)
    _check_choice("rotation", options.get("rotation", "none"), ROTATIONS)
    _check_choice("side", options.get("side", "both"), SIDES)
    random_dims, rerank = options.get("random_dims", False), options.get("rerank", 0)
    if not isinstance(random_dims, bool):
        raise InputError(f"random_dims={random_dims!r} is neither True nor False; use one of them")
    if not _is_count(rerank):
        raise InputError(f"rerank={rerank!r} is not a number of candidates; use 0 for no rerank")


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if isinstance(value, bool) or value not in choices:
        raise InputError(
            f"{name}={value!r} is not known; use one of {', '.join(map(str, choices))}"
        )


def _check_effect(variant: Variant) -> None:
    """`InputError` for combinations of which one part would do nothing."""
    if variant.side != "both" and variant.bits == FULL_BITS:
        raise InputError(
            f"side={variant.side!r} does nothing at {FULL_BITS} bits; leave it out, or use codes"
        )
    if variant.random_dims and variant.rotation != "none":
        raise InputError(
            f"random_dims=True takes dimensions of the vectors as they are, so "
            f"rotation={variant.rotation!r} does nothing; leave one of the two out"
        )


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return int(value) >= 0
