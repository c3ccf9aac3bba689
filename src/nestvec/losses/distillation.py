"""Learning from vectors that are already good: a teacher's, or one's own full width.

Half precision is computed in float32, under autocast too: what is learned from are small
differences of cosines, which have three digits there.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import kl_div, mse_loss, normalize

from nestvec.errors import InputError, VectorsError
from nestvec.losses.checks import at_least_float32, check_embeddings, uncast
from nestvec.losses.cuts import Cuts, Weights
from nestvec.shapes import Float


def nested_mse(
    student: Float[Tensor, "n dim"],
    teacher: Float[Tensor, "rows wide"],
    dims: Sequence[int],
    weights: Weights = None,
    *,
    cosine: bool = True,
) -> Float[Tensor, ""]:
    """Σ over cuts of weight × mean squared difference of the student's and teacher's prefixes.

    Both prefixes are renormalised, so that the least value is 0 at each cut; with `cosine=False`
    neither is. The teacher, which gets no gradient, may be wider than the student.
    """
    learns, teaches = _rows(student, teacher)
    cuts = Cuts.of(dims, min(learns.shape[1], teaches.shape[1]), weights)
    total = learns.new_zeros(())
    for dim, weight in zip(cuts.dims, cuts.weights, strict=True):
        prefixes = [learns[:, :dim], teaches[:, :dim]]
        a, b = map(normalize, prefixes) if cosine else prefixes
        total = total + weight * mse_loss(a, b)
    return total


def nested_similarity(
    student: Float[Tensor, "n dim"],
    teacher: Float[Tensor, "rows wide"],
    dims: Sequence[int],
    weights: Weights = None,
) -> Float[Tensor, ""]:
    """Σ over cuts of weight × mean squared difference of cosines within the batch.

    Every prefix of the student is to see the batch as the teacher does at full width; widths may
    differ, and no direction is prescribed. Pairs of a row with itself do not count.
    """
    learns, teaches = _rows(student, teacher)
    cuts = Cuts.of(dims, learns.shape[1], weights)
    wanted = _cosines(teaches)
    pairs = len(learns) * (len(learns) - 1)
    total = learns.new_zeros(())
    for dim, weight in zip(cuts.dims, cuts.weights, strict=True):
        total = total + weight * (_cosines(learns[:, :dim]) - wanted).square().sum() / pairs
    return total


def guardrail(
    embeddings: Float[Tensor, "n dim"], frozen: Float[Tensor, "rows wide"]
) -> Float[Tensor, ""]:
    """How far full width has moved from a frozen copy's: the mean squared difference of cosines.

    Added to a nested loss it keeps full width from dropping. Cosines rather than coordinates are
    held: rotating the vectors, which is how the front gets what matters, costs nothing.
    """
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
    """Σ over cuts of weight × KL(teacher ‖ prefix) over the teacher's `k` nearest rows of each row.

    The teacher is the full width of `embeddings`, which then gets its gradient through prefixes
    alone, unless others are given. Of equally near rows any may be taken. 1 ≤ `k` < rows.
    """
    learns, teaches = _rows(embeddings, embeddings if teacher is None else teacher)
    cuts = Cuts.of(dims, learns.shape[1], weights)
    if not 1 <= k < len(learns) or not 0 < temperature < math.inf:
        raise InputError(
            f"k={k} at temperature={temperature} for {len(learns)} rows; "
            "use 1 <= k < rows and a finite temperature above 0"
        )
    wanted, nearest = _cosines(teaches).fill_diagonal_(-torch.inf).topk(k)
    share = (wanted / temperature).softmax(1)
    total = learns.new_zeros(())
    for dim, weight in zip(cuts.dims, cuts.weights, strict=True):
        found = (_cosines(learns[:, :dim]).gather(1, nearest) / temperature).log_softmax(1)
        total = total + weight * kl_div(found, share, reduction="batchmean")
    return total


def _cosines(vectors: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
    unit = normalize(vectors)
    with uncast(unit):
        cosines: Tensor = unit @ unit.T
    return cosines


def _rows(
    student: Tensor, teacher: Tensor
) -> tuple[Float[Tensor, "n dim"], Float[Tensor, "n wide"]]:
    """Both as they are computed with, of one batch, the teacher without gradient."""
    for name, rows in {"student": student, "teacher": teacher}.items():
        check_embeddings(**{name: rows})
    if len(student) != len(teacher) or len(student) < 2:
        raise VectorsError(
            f"{len(student)} rows of the student and {len(teacher)} of the teacher; "
            "give the same batch of at least two to both"
        )
    if student.device != teacher.device or student.dtype != teacher.dtype:
        raise VectorsError(
            f"the student is {student.dtype} on {student.device}, the teacher {teacher.dtype} on "
            f"{teacher.device}; bring them to one by .to(...)"
        )
    return at_least_float32(student), at_least_float32(teacher.detach())
