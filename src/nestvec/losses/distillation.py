"""Distillation from a teacher's vectors, or from the model at full width.

Half precision is computed in float32, under autocast too: the losses are small differences of
cosines, which would have three digits.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import kl_div, mse_loss, normalize

from nestvec.errors import InputError, VectorsError
from nestvec.losses.checks import (
    at_least_float32,
    autocast_off,
    check_embeddings,
    has_no_pairs,
    no_loss,
)
from nestvec.losses.nesting_dims import NestingDims, Weights
from nestvec.shapes import Float


def nested_mse(
    student: Float[Tensor, "n dim"],
    teacher: Float[Tensor, "rows wide"],
    dims: Sequence[int],
    weights: Weights = None,
    *,
    cosine: bool = True,
) -> Float[Tensor, ""]:
    """Σ over prefixes of weight × mean squared difference of the student's and teacher's prefix.

    Both prefixes are renormalised, so that the least value is 0 at each; with `cosine=False`
    neither is. The teacher, which gets no gradient, may be wider than the student.
    """
    student, teacher = _rows(student, teacher)
    nesting = NestingDims.of(dims, min(student.shape[1], teacher.shape[1]), weights)
    total = student.new_zeros(())
    for dim, weight in zip(nesting.dims, nesting.weights, strict=True):
        prefixes = [student[:, :dim], teacher[:, :dim]]
        a, b = map(normalize, prefixes) if cosine else prefixes
        total = total + weight * mse_loss(a, b)
    return total


def nested_similarity(
    student: Float[Tensor, "n dim"],
    teacher: Float[Tensor, "rows wide"],
    dims: Sequence[int],
    weights: Weights = None,
) -> Float[Tensor, ""]:
    """Σ over prefixes of weight × mean squared difference of cosines within the batch.

    Every prefix of the student learns the cosines of the teacher at full width; widths may differ,
    and no direction is prescribed. Pairs of a row with itself do not count. A batch of one row has
    no pairs: its loss is 0, which a `UserWarning` says.
    """
    student, teacher = _rows(student, teacher)
    nesting = NestingDims.of(dims, student.shape[1], weights)
    if has_no_pairs(student):
        return no_loss(student)
    cosines = _cosines(teacher)
    pairs = len(student) * (len(student) - 1)
    total = student.new_zeros(())
    for dim, weight in zip(nesting.dims, nesting.weights, strict=True):
        total = total + weight * (_cosines(student[:, :dim]) - cosines).square().sum() / pairs
    return total


def guardrail(
    embeddings: Float[Tensor, "n dim"], frozen: Float[Tensor, "rows wide"]
) -> Float[Tensor, ""]:
    """Penalise changes of full width: the mean squared difference of cosines to a frozen copy's.

    Added to a nested loss it protects the quality of full width. It compares cosines and not
    coordinates: rotating the vectors, which moves what matters to the front, costs nothing. The
    loss of one row is 0, as in `nested_similarity`.
    """
    check_embeddings(embeddings=embeddings)
    return nested_similarity(embeddings, frozen, [embeddings.shape[1]])


def nested_neighbours(
    embeddings: Float[Tensor, "n dim"],
    dims: Sequence[int],
    k: int = 10,
    temperature: float = 0.05,
    weights: Weights = None,
    *,
    teacher: Float[Tensor, "rows wide"] | None = None,
) -> Float[Tensor, ""]:
    """Σ over prefixes of weight × KL(teacher ‖ prefix) over the `k` rows nearest to each row.

    Nearest means by the teacher; of equally near rows any may be taken. Without a `teacher` it is
    the full width of `embeddings`, which then gets its gradient through prefixes alone. A batch of
    `k` rows or fewer, as the last one may be, is compared over all its other rows; of one row, the
    loss is 0, which a `UserWarning` says. Raises `InputError` for `k` below 1.
    """
    student, frozen = _rows(embeddings, embeddings if teacher is None else teacher)
    nesting = NestingDims.of(dims, student.shape[1], weights)
    if k < 1 or not 0 < temperature < math.inf:
        raise InputError(
            f"k={k} at temperature={temperature}; use k >= 1 and a finite temperature above 0"
        )
    if has_no_pairs(student):
        return no_loss(student)
    others = _cosines(frozen).fill_diagonal_(-torch.inf)
    cosines, nearest = others.topk(min(k, len(student) - 1))
    share = (cosines / temperature).softmax(1)
    total = student.new_zeros(())
    for dim, weight in zip(nesting.dims, nesting.weights, strict=True):
        log_share = (_cosines(student[:, :dim]).gather(1, nearest) / temperature).log_softmax(1)
        total = total + weight * kl_div(log_share, share, reduction="batchmean")
    return total


def _cosines(vectors: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
    unit = normalize(vectors)
    with autocast_off(unit):
        cosines: Tensor = unit @ unit.T
    return cosines


def _rows(
    student: Tensor, teacher: Tensor
) -> tuple[Float[Tensor, "n dim"], Float[Tensor, "n wide"]]:
    """Check both as embeddings of one batch; float32 at least, and the teacher without gradient."""
    for name, rows in {"student": student, "teacher": teacher}.items():
        check_embeddings(**{name: rows})
    if len(student) != len(teacher) or len(student) == 0:
        raise VectorsError(
            f"{len(student)} rows of the student and {len(teacher)} of the teacher; "
            "pass the same batch of at least one row to both"
        )
    if student.device != teacher.device or student.dtype != teacher.dtype:
        raise VectorsError(
            f"the student is {student.dtype} on {student.device}, the teacher {teacher.dtype} on "
            f"{teacher.device}; make them equal by .to(...)"
        )
    return at_least_float32(student), at_least_float32(teacher.detach())
