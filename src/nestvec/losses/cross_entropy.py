"""Classification by every prefix: a head per size (MRL), or one head whose columns are nested."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nestvec.errors import InputError, VectorsError
from nestvec.losses import blocks
from nestvec.losses.checks import at_least_float32, check_embeddings
from nestvec.losses.cuts import Cuts, Weights, check_weights
from nestvec.losses.targets import Targets
from nestvec.shapes import Float, Int64


def nested_cross_entropy(
    logits: Sequence[Float[Tensor, "n classes"]],
    labels: Int64[Tensor, " rows"],
    weights: Weights = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Float[Tensor, ""]:
    """Σ over sizes of weight × cross-entropy; `logits` has one tensor per size, smallest first.

    They come from a head per size (MRL) or from `tied_logits` (MRL-E); for many sizes or classes of
    a tied head, `nested_tied_cross_entropy` gives the same value without them. Rows labelled
    `ignore_index` do not count; a batch of nothing else has loss 0. Raises `InputError` for labels
    out of range or weights of another number.
    """
    if not logits:
        raise InputError("there are no logits; give one tensor per size")
    kept = _kept(labels, len(logits[0]), logits[0].shape[1], ignore_index)
    total = logits[0].new_zeros((), dtype=torch.promote_types(logits[0].dtype, torch.float32))
    for weight, of_size in zip(check_weights(weights, len(logits)), logits, strict=True):
        # A sum over no row is 0, and still has a gradient (of zeros) for all parameters.
        losses = cross_entropy(
            at_least_float32(of_size)[kept],
            labels[kept],
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        total = total + weight * losses / max(1, len(kept))
    return total


def tied_logits(
    embeddings: Float[Tensor, "n dim"],
    classifier: Float[Tensor, "classes dim"],
    dims: Sequence[int],
    bias: Float[Tensor, " classes"] | None = None,
) -> list[Float[Tensor, "n classes"]]:
    """The logits of each prefix by the same columns of one classifier, in the order of `dims`.

    As running sums over blocks: all sizes cost one product of full width.
    """
    cuts = Cuts.of(dims, check_embeddings(embeddings=embeddings, classifier=classifier))
    products = [embeddings[:, block] @ classifier[:, block].T for block in cuts.blocks]
    running = embeddings.new_zeros(()) if bias is None else bias
    sums = {}
    for dim, product in zip(cuts.dims, products, strict=True):
        running = running + product
        sums[dim] = running
    return [sums[dim] for dim in dims]


def nested_tied_cross_entropy(
    embeddings: Float[Tensor, "n dim"],
    classifier: Float[Tensor, "classes dim"],
    labels: Int64[Tensor, " rows"],
    dims: Sequence[int],
    bias: Float[Tensor, " classes"] | None = None,
    weights: Weights = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Float[Tensor, ""]:
    """`nested_cross_entropy` of `tied_logits`, equal in value and gradient, in blocks (MRL-E).

    No logits are kept, so vocabularies of tens of thousands fit. `weights` are in the order of
    `dims`. Half precision is computed in float32.
    """
    width = check_embeddings(embeddings=embeddings, classifier=classifier)
    cuts = Cuts.of(dims, width, weights)
    kept = _kept(labels, len(embeddings), len(classifier), ignore_index)
    if len(kept) == 0:
        return (embeddings.sum() + classifier.sum()) * 0
    rows, columns = at_least_float32(embeddings)[kept], at_least_float32(classifier)
    if bias is not None:
        # One more dimension in front of all: 1 × bias.
        rows = torch.cat([rows.new_ones(len(rows), 1), rows], 1)
        columns = torch.cat([bias.to(columns.dtype)[:, None], columns], 1)
        cuts = cuts.wider(1)
    targets = Targets.one_each(labels[kept], rows)
    loss = blocks.softmax_loss(rows, columns, rows.new_ones(()), cuts, targets, cosine=False)
    if label_smoothing == 0:
        return loss
    # (1 − ε)·(Z − zₗ) + ε·(Z − mean z) = (Z − zₗ) + ε·(zₗ − mean z), Z the log of Σ exp z.
    above_mean = rows * (columns[labels[kept]] - columns.mean(0))
    per_cut = cuts.prefix_sums(above_mean).mean(1)
    return loss + label_smoothing * (per_cut * per_cut.new_tensor(cuts.weights)).sum()


def nested_masked_lm(
    hidden: Float[Tensor, "batch length dim"],
    token_embeddings: Float[Tensor, "vocabulary dim"],
    labels: Int64[Tensor, "rows columns"],
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
    labels: Int64[Tensor, " labels"], rows: int, classes: int, ignore_index: int
) -> Int64[Tensor, " kept"]:
    """The rows that count, all labelled with a class that there is."""
    if labels.shape != (rows,):
        raise InputError(f"labels of shape {tuple(labels.shape)} for {rows} rows; give one per row")
    kept = (labels != ignore_index).nonzero().squeeze(1)
    least, most = (labels[kept].aminmax()) if len(kept) else (0, 0)
    if least < 0 or most >= classes:
        wrong = int(least if least < 0 else most)
        raise InputError(
            f"label {wrong} is out of range for {classes} classes; use 0 to {classes - 1}, "
            f"or {ignore_index} for rows that do not count"
        )
    return kept
