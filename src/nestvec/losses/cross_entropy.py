"""Classification by every prefix: a head per prefix (MRL), or one whose columns are nested."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nestvec.errors import InputError, VectorsError
from nestvec.losses import blocks
from nestvec.losses.checks import (
    at_least_float32,
    autocast_off,
    check_embeddings,
    check_labels,
    match_parameter_dtype,
)
from nestvec.losses.nesting_dims import NestingDims, Weights, check_weights
from nestvec.losses.targets import Targets
from nestvec.shapes import Float, Int64


def nested_cross_entropy(
    logits: Sequence[Tensor],
    labels: Tensor,
    weights: Weights = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Float[Tensor, ""]:
    """Σ over prefixes of weight × cross-entropy; `logits` has a tensor per prefix, smallest first.

    All are [n, classes], and `labels` n whole numbers. Logits come from a head per prefix (MRL) or
    from `tied_logits` (MRL-E); for many prefixes or classes of a tied head,
    `nested_tied_cross_entropy` gives the same value without them. Rows labelled `ignore_index` do
    not count; a batch of nothing else has loss 0. Raises `VectorsError` for logits of different
    shapes, `InputError` for labels out of range, and for too few or too many weights.
    """
    classes = _check_logits(logits)
    targets, counted = _counted(labels, logits[0], classes, ignore_index)
    smoothing = _check_smoothing(label_smoothing)
    total = logits[0].new_zeros((), dtype=torch.promote_types(logits[0].dtype, torch.float32))
    for weight, prefix_logits in zip(check_weights(weights, len(logits)), logits, strict=True):
        # A sum over no row is 0, and still has a gradient (of zeros) for all parameters.
        losses = cross_entropy(
            at_least_float32(prefix_logits)[counted],
            targets,
            reduction="sum",
            label_smoothing=smoothing,
        )
        total = total + weight * losses / max(1, len(counted))
    return total


def tied_logits(
    embeddings: Float[Tensor, "n dim"],
    classifier: Float[Tensor, "classes dim"],
    dims: Sequence[int],
    bias: Float[Tensor, " outputs"] | None = None,
) -> list[Float[Tensor, "n classes"]]:
    """Compute the logits of each prefix by the same columns of one classifier, ordered as `dims`.

    As running sums over blocks: all prefixes cost one product of full width. Half precision is
    summed in float32.
    """
    rows = match_parameter_dtype(embeddings, classifier)
    nesting = NestingDims.of(dims, check_embeddings(embeddings=rows, classifier=classifier))
    _check_bias(bias, classifier)
    products = [rows[:, block] @ classifier[:, block].T for block in nesting.blocks]
    running = rows.new_zeros(()) if bias is None else bias
    sums = {}
    for dim, product in zip(nesting.dims, products, strict=True):
        running = running + at_least_float32(product)
        sums[dim] = running
    return [sums[dim] for dim in dims]


def nested_tied_cross_entropy(
    embeddings: Float[Tensor, "n dim"],
    classifier: Float[Tensor, "classes dim"],
    labels: Tensor,
    dims: Sequence[int],
    bias: Float[Tensor, " outputs"] | None = None,
    weights: Weights = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Float[Tensor, ""]:
    """`nested_cross_entropy` of `tied_logits`, equal in value and gradient, in blocks (MRL-E).

    No logits are stored, so vocabularies of tens of thousands fit. `weights` are in the order of
    `dims`. Half precision is computed in float32, under autocast too.
    """
    rows = match_parameter_dtype(embeddings, classifier)
    width = check_embeddings(embeddings=rows, classifier=classifier)
    nesting = NestingDims.of(dims, width, weights)
    _check_bias(bias, classifier)
    smoothing = _check_smoothing(label_smoothing)
    classes, counted = _counted(labels, rows, len(classifier), ignore_index)
    if len(counted) == 0:
        # Sums over no row are 0, and still have gradients (of zeros).
        parts = (rows, classifier) if bias is None else (rows, classifier, bias)
        return torch.stack([at_least_float32(part[:0]).sum() for part in parts]).sum()
    rows, columns = at_least_float32(rows)[counted], at_least_float32(classifier)
    if bias is not None:
        # One more dimension in front of all: 1 × bias.
        rows = torch.cat([rows.new_ones(len(rows), 1), rows], 1)
        columns = torch.cat([bias.to(columns.dtype)[:, None], columns], 1)
        nesting = nesting.offset(1)
    targets = Targets.one_positive(classes, rows)
    with autocast_off(rows):
        loss = blocks.softmax_loss(rows, columns, rows.new_ones(()), nesting, targets, cosine=False)
    if smoothing == 0:
        return loss
    # (1 − ε)·(Z − zₗ) + ε·(Z − mean z) = (Z − zₗ) + ε·(zₗ − mean z), Z the log of Σ exp z.
    above_mean = rows * (columns[classes] - columns.mean(0))
    per_prefix = nesting.prefix_sums(above_mean).mean(1)
    return loss + smoothing * (per_prefix * per_prefix.new_tensor(nesting.weights)).sum()


def nested_masked_lm(
    hidden: Float[Tensor, "batch length dim"],
    token_embeddings: Float[Tensor, "vocabulary dim"],
    labels: Tensor,
    dims: Sequence[int],
    bias: Float[Tensor, " vocabulary"] | None = None,
    weights: Weights = None,
) -> Float[Tensor, ""]:
    """Masked language modelling by every prefix, with the input embeddings as output (BERT).

    `hidden` is the state that the model multiplies with its token embeddings (after BERT's
    transform); `labels` are −100 where no token is masked. Tying makes it MRL-E (Kusupati et al.,
    2022, §3).
    """
    if hidden.ndim != 3 or hidden.shape[:2] != labels.shape or not hidden.is_floating_point():
        raise VectorsError(
            f"hidden is {hidden.dtype} of shape {tuple(hidden.shape)} and labels have shape "
            f"{tuple(labels.shape)}; they must be [batch, length, dim] of floating point and "
            "[batch, length]"
        )
    return nested_tied_cross_entropy(
        hidden.flatten(0, 1), token_embeddings, labels.flatten(), dims, bias, weights
    )


def _counted(
    labels: Tensor, rows: Tensor, classes: int, ignore_index: int
) -> tuple[Int64[Tensor, " counted"], Int64[Tensor, " counted"]]:
    """Select the labels that count and their rows; `InputError` for a class out of range."""
    labels = check_labels(labels, rows)
    counted = (labels != ignore_index).nonzero().squeeze(1)
    targets = labels[counted]
    lowest, highest = targets.aminmax() if len(counted) else (0, 0)
    if lowest < 0 or highest >= classes:
        wrong = int(lowest if lowest < 0 else highest)
        raise InputError(
            f"label {wrong} is out of range for {classes} classes; use 0 to {classes - 1}, "
            f"or {ignore_index} for rows that do not count"
        )
    return targets, counted


def _check_logits(logits: Sequence[Tensor]) -> int:
    """Check that every prefix has logits of the same rows and classes; return the class count."""
    if len(logits) == 0:
        raise InputError("there are no logits; pass one tensor per prefix")
    classes = check_embeddings(**{f"logits[{i}]": tensor for i, tensor in enumerate(logits)})
    if len({len(tensor) for tensor in logits}) > 1:
        raise VectorsError(
            f"logits have {[len(tensor) for tensor in logits]} rows; "
            "pass those of the same batch for every prefix"
        )
    return classes


def _check_bias(bias: Tensor | None, classifier: Tensor) -> None:
    if bias is None:
        return
    if bias.shape != classifier.shape[:1] or bias.device != classifier.device:
        raise VectorsError(
            f"bias has shape {tuple(bias.shape)} on {bias.device}, the classifier "
            f"{tuple(classifier.shape)} on {classifier.device}; pass one number per class, there"
        )


def _check_smoothing(share: float) -> float:
    if not 0 <= share <= 1:
        raise InputError(f"label_smoothing={share} is no share; use 0 to 1, such as 0.1")
    return share
