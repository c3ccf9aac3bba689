"""Classification by every prefix: a head per size (MRL), or one head whose columns are nested."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nestvec.errors import InputError, VectorsError
from nestvec.losses import blocks
from nestvec.losses.checks import (
    as_parameters,
    at_least_float32,
    check_embeddings,
    check_labels,
    uncast,
)
from nestvec.losses.cuts import Cuts, Weights, check_weights
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
    """Σ over sizes of weight × cross-entropy; `logits` has one tensor per size, smallest first.

    All are [n, classes], and `labels` n whole numbers. Logits come from a head per size (MRL) or
    from `tied_logits` (MRL-E); for many sizes or classes of a tied head,
    `nested_tied_cross_entropy` gives the same value without them. Rows labelled `ignore_index` do
    not count; a batch of nothing else has loss 0. Raises `VectorsError` for logits of different
    shapes, `InputError` for labels out of range or weights of another number.
    """
    classes = _check_logits(logits)
    answers, kept = _kept(labels, logits[0], classes, ignore_index)
    smoothing = _check_smoothing(label_smoothing)
    total = logits[0].new_zeros((), dtype=torch.promote_types(logits[0].dtype, torch.float32))
    for weight, of_size in zip(check_weights(weights, len(logits)), logits, strict=True):
        # A sum over no row is 0, and still has a gradient (of zeros) for all parameters.
        losses = cross_entropy(
            at_least_float32(of_size)[kept], answers, reduction="sum", label_smoothing=smoothing
        )
        total = total + weight * losses / max(1, len(kept))
    return total


def tied_logits(
    embeddings: Float[Tensor, "n dim"],
    classifier: Float[Tensor, "classes dim"],
    dims: Sequence[int],
    bias: Float[Tensor, " outputs"] | None = None,
) -> list[Float[Tensor, "n classes"]]:
    """The logits of each prefix by the same columns of one classifier, in the order of `dims`.

    As running sums over blocks: all sizes cost one product of full width. Half precision is summed
    in float32.
    """
    rows = as_parameters(embeddings, classifier)
    cuts = Cuts.of(dims, check_embeddings(embeddings=rows, classifier=classifier))
    _check_bias(bias, classifier)
    products = [rows[:, block] @ classifier[:, block].T for block in cuts.blocks]
    running = rows.new_zeros(()) if bias is None else bias
    sums = {}
    for dim, product in zip(cuts.dims, products, strict=True):
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

    No logits are kept, so vocabularies of tens of thousands fit. `weights` are in the order of
    `dims`. Half precision is computed in float32, under autocast too.
    """
    given = as_parameters(embeddings, classifier)
    cuts = Cuts.of(dims, check_embeddings(embeddings=given, classifier=classifier), weights)
    _check_bias(bias, classifier)
    smoothing = _check_smoothing(label_smoothing)
    answers, kept = _kept(labels, given, len(classifier), ignore_index)
    if len(kept) == 0:
        # Sums over no row are 0, and still have gradients (of zeros).
        parts = (given, classifier) if bias is None else (given, classifier, bias)
        return torch.stack([at_least_float32(part[:0]).sum() for part in parts]).sum()
    rows, columns = at_least_float32(given)[kept], at_least_float32(classifier)
    if bias is not None:
        # One more dimension in front of all: 1 × bias.
        rows = torch.cat([rows.new_ones(len(rows), 1), rows], 1)
        columns = torch.cat([bias.to(columns.dtype)[:, None], columns], 1)
        cuts = cuts.wider(1)
    targets = Targets.one_each(answers, rows)
    with uncast(rows):
        loss = blocks.softmax_loss(rows, columns, rows.new_ones(()), cuts, targets, cosine=False)
    if smoothing == 0:
        return loss
    # (1 − ε)·(Z − zₗ) + ε·(Z − mean z) = (Z − zₗ) + ε·(zₗ − mean z), Z the log of Σ exp z.
    above_mean = rows * (columns[answers] - columns.mean(0))
    per_cut = cuts.prefix_sums(above_mean).mean(1)
    return loss + smoothing * (per_cut * per_cut.new_tensor(cuts.weights)).sum()


def nested_masked_lm(
    hidden: Float[Tensor, "batch length dim"],
    token_embeddings: Float[Tensor, "vocabulary dim"],
    labels: Tensor,
    dims: Sequence[int],
    bias: Float[Tensor, " vocabulary"] | None = None,
    weights: Weights = None,
) -> Float[Tensor, ""]:
    """Masked language modelling by every prefix, with the input embeddings as output (BERT).

    `hidden` is what the model would multiply with its token embeddings (after BERT's transform);
    `labels` are −100 where nothing is asked. Tying makes it MRL-E (Kusupati et al., 2022, §3).
    """
    if hidden.ndim != 3 or hidden.shape[:2] != labels.shape:
        raise VectorsError(
            f"hidden has shape {tuple(hidden.shape)} and labels {tuple(labels.shape)}; "
            "they are to be [batch, length, dim] and [batch, length]"
        )
    return nested_tied_cross_entropy(
        hidden.flatten(0, 1), token_embeddings, labels.flatten(), dims, bias, weights
    )


def _kept(
    labels: Tensor, rows: Tensor, classes: int, ignore_index: int
) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " kept"]]:
    """The labels that count, all of a class that there is, and their rows."""
    whole = check_labels(labels, rows)
    kept = (whole != ignore_index).nonzero().squeeze(1)
    answers = whole[kept]
    least, most = answers.aminmax() if len(kept) else (0, 0)
    if least < 0 or most >= classes:
        wrong = int(least if least < 0 else most)
        raise InputError(
            f"label {wrong} is out of range for {classes} classes; use 0 to {classes - 1}, "
            f"or {ignore_index} for rows that do not count"
        )
    return answers, kept


def _check_logits(logits: Sequence[Tensor]) -> int:
    """How many classes there are: the same rows and classes at every size, else an error."""
    if len(logits) == 0:
        raise InputError("there are no logits; give one tensor per size")
    classes = check_embeddings(**{f"logits[{i}]": of for i, of in enumerate(logits)})
    if len({len(of_size) for of_size in logits}) > 1:
        raise VectorsError(
            f"logits are of {[len(of_size) for of_size in logits]} rows; "
            "give those of the same batch for every size"
        )
    return classes


def _check_bias(bias: Tensor | None, classifier: Tensor) -> None:
    if bias is None:
        return
    if bias.shape != classifier.shape[:1] or bias.device != classifier.device:
        raise VectorsError(
            f"bias has shape {tuple(bias.shape)} on {bias.device}, the classifier "
            f"{tuple(classifier.shape)} on {classifier.device}; give one number per class, there"
        )


def _check_smoothing(share: float) -> float:
    if not 0 <= share <= 1:
        raise InputError(f"label_smoothing={share} is no share; use 0 to 1, such as 0.1")
    return share
