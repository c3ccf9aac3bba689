"""Contrastive training of all prefixes with in-batch negatives."""

import math
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TypedDict

import torch
from torch import Tensor
from typing_extensions import Unpack

from nestvec.errors import InputError, MissingExtraError, VectorsError
from nestvec.keywords import complete
from nestvec.losses import blocks, fused, reference
from nestvec.losses.checks import (
    at_least_float32,
    autocast_off,
    check_embeddings,
    check_labels,
    no_loss,
)
from nestvec.losses.gather import gather_numbers, gather_with_offset
from nestvec.losses.nesting_dims import NestingDims, Weights
from nestvec.losses.targets import Targets
from nestvec.shapes import Bool, Float, Int64

SoftmaxLoss = Callable[[Tensor, Tensor, Tensor, NestingDims, Targets, bool], Tensor]
_METHODS: dict[str, SoftmaxLoss] = {
    "blocks": blocks.softmax_loss,
    "reference": reference.softmax_loss,
}

_NO_NEGATIVE = (
    "a batch of one pair has no negative, so its loss is 0 and teaches nothing; if it is not only "
    "the last batch, use larger ones, or negatives, which serve queries alone (not bidirectional)"
)


class InfoNCEOptions(TypedDict, total=False):
    """Further keyword options of `nested_info_nce`, which explains them."""

    excluded: Tensor | None
    margin: float | None
    bidirectional: bool
    cosine: bool
    gather: bool
    method: str


_DEFAULTS = InfoNCEOptions(
    excluded=None, margin=None, bidirectional=False, cosine=True, gather=False, method="blocks"
)


def nested_info_nce(
    queries: Tensor,
    documents: Tensor,
    dims: Sequence[int],
    temperature: float | Tensor = 0.05,
    *,
    negatives: Tensor | None = None,
    weights: Weights = None,
    labels: Tensor | None = None,
    **options: Unpack[InfoNCEOptions],
) -> Float[Tensor, ""]:
    """Σ over prefixes of weight × InfoNCE (van den Oord et al., 2018), prefixes renormalised.

    Row i of `documents` [q, dim] is the positive of row i of `queries` [q, dim]. The candidates of
    a query are all documents and then all `negatives` [n, dim]. The value is that of Sentence
    Transformers' MatryoshkaLoss around MultipleNegativesRankingLoss with scale 1/temperature and
    the same dims.

    - `temperature`: a number, or a tensor that learns.
    - `labels` [q], whole numbers: rows of one label belong together, so a query has several
      positives, each with an equal share of its loss (Khosla et al., 2020, L_out).
    - `excluded` [q, candidates], true or false: candidates that are neither negatives of a query
      nor its positives.
    - `margin`: also excludes candidates whose full-width score exceeds that of the query's (best)
      positive by more: they are likely to be relevant and unlabelled. Below 0 it excludes more.
    - `bidirectional`: the mean of this and of documents finding their queries (CLIP); `negatives`
      are candidates for queries only.
    - `cosine=False`: plain inner products of prefixes; nothing is renormalised.
    - `gather`: candidates of all processes, gathered once (torch.distributed); the loss is of this
      process's queries. Processes may have batches of different sizes: the mean over processes is
      the loss of one process that has all queries. `labels` are gathered too; `excluded` has the
      columns of all.
    - `method`: "blocks", or "reference", which computes the same prefix by prefix and has second
      derivatives, or "triton", fused for CUDA and so far tested in Triton's interpreter only.

    Half precision is computed in float32, under autocast too. Raises `DimsError` for dims that do
    not fit, `VectorsError` for tensors that do not fit each other and `InputError` for options that
    do not. A query without a negative, as in a last batch of one pair, has the loss 0 and no
    gradient, which a `UserWarning` says.
    """
    values = complete(options, _DEFAULTS, "nested_info_nce")
    excluded, margin, bidirectional, cosine, gather, method = (values[name] for name in _DEFAULTS)
    _check_pairs(queries, documents, negatives)
    nesting = NestingDims.of(dims, queries.shape[1], weights)
    _check_options(margin, excluded if bidirectional and gather else None)
    softmax_loss = _choose(method)
    process_weight = _process_weight(queries, gather)
    queries, documents = at_least_float32(queries), at_least_float32(documents)
    local = documents if negatives is None else torch.cat([documents, at_least_float32(negatives)])
    scale = _scale(temperature, queries)
    labels = None if labels is None else check_labels(labels, queries)

    def one_direction(rows: Tensor, local: Tensor, excluded: Tensor | None) -> Tensor:
        candidates, start = gather_with_offset(local) if gather else (local, 0)
        _check_excluded(len(rows), candidates, excluded)
        targets = _targets(rows, local, start, labels, gather, excluded, margin)
        n_candidates.append(len(candidates))
        if len(candidates) < 2:
            return no_loss(rows, candidates, scale)
        with autocast_off(rows):
            return softmax_loss(rows, candidates, scale, nesting, targets, cosine)

    n_candidates: list[int] = []
    loss = one_direction(queries, local, excluded)
    if bidirectional:
        reverse = None if excluded is None else excluded[:, : len(queries)].T
        loss = (loss + one_direction(documents, queries, reverse)) / 2
    if min(n_candidates) < 2:
        warnings.warn(_NO_NEGATIVE, stacklevel=2)
    return loss * process_weight


def _targets(
    queries: Float[Tensor, "q dim"],
    local: Float[Tensor, "n dim"],
    start: int,
    labels: Int64[Tensor, " q"] | None,
    gather: bool,
    excluded: Bool[Tensor, "q candidates"] | None,
    margin: float | None,
) -> Targets:
    """Make row i of `local`, the candidates from `start` on, the positive of query i."""
    if labels is None:
        columns = torch.arange(start, start + len(queries), device=queries.device)
        return Targets.one_positive(columns, queries, excluded, margin)
    # Negatives have no label: the least whole number stands for none.
    no_label = labels.new_full((len(local) - len(labels),), torch.iinfo(labels.dtype).min)
    local_labels = torch.cat([labels, no_label])
    candidate_labels = gather_with_offset(local_labels)[0] if gather else local_labels
    return Targets.same_label(labels, candidate_labels, queries, excluded, margin)


def _scale(temperature: float | Tensor, like: Tensor) -> Float[Tensor, ""]:
    scale = torch.as_tensor(temperature, device=like.device).to(like.dtype).reciprocal()
    # The scale is checked, not the temperature: of a number near 0 it is not finite either.
    if scale.numel() != 1 or not 0 < float(scale.detach()) < math.inf:
        raise InputError(f"temperature={temperature}; use one finite number above 0, such as 0.05")
    return scale.reshape(())


def _choose(method: str) -> SoftmaxLoss:
    if method == "triton":
        if find_spec("triton") is None:
            raise MissingExtraError(
                "'triton' is not installed; it comes with torch's builds for CUDA, "
                "or use method='blocks'"
            )
        return fused.softmax_loss
    if method not in _METHODS:
        raise InputError(f"method={method!r} is unknown; use one of {', '.join(_METHODS)}, triton")
    return _METHODS[method]


def _check_pairs(queries: Tensor, documents: Tensor, negatives: Tensor | None) -> None:
    """Check that there is one document per query, and that all tensors fit each other."""
    extra = {} if negatives is None else {"negatives": negatives}
    check_embeddings(queries=queries, documents=documents, **extra)
    if len(queries) != len(documents):
        raise VectorsError(
            f"{len(queries)} queries but {len(documents)} documents; documents[i] is the "
            "positive of query i, and further documents go into negatives"
        )


def _process_weight(queries: Tensor, gather: bool) -> float:
    """Give the weight of this process, its share of all queries × processes; 1 without `gather`.

    Raises `InputError`, in every process, where one has no queries.
    """
    numbers = [len(queries)]
    counts = [n for (n,) in gather_numbers(numbers, queries.device)] if gather else numbers
    if 0 in counts:
        where = f" in process {counts.index(0)}" if len(counts) > 1 else ""
        raise InputError(f"there are no queries{where}; pass a batch of at least two pairs")
    return len(queries) * len(counts) / sum(counts)


def _check_excluded(n_queries: int, candidates: Tensor, excluded: Tensor | None) -> None:
    """Check that `excluded` has the shape of the scores."""
    if excluded is None:
        return
    shape = (n_queries, len(candidates))
    fits = excluded.shape == shape and excluded.device == candidates.device
    if not fits or excluded.dtype != torch.bool:
        raise InputError(
            f"excluded is {excluded.dtype} of shape {tuple(excluded.shape)} on {excluded.device}; "
            f"pass true or false [queries, candidates], {list(shape)}, on {candidates.device}"
        )


def _check_options(margin: float | None, one_sided: Tensor | None) -> None:
    """Check that the margin is finite, and that exclusions can be used in both directions."""
    if margin is not None and not math.isfinite(margin):
        raise InputError(f"margin={margin} must be a finite number, or None for no margin")
    if one_sided is not None:
        raise InputError(
            "with gather, excluded does not cover the queries of other processes, which "
            "bidirectional needs; leave out bidirectional, or call twice with the sides exchanged"
        )
