"""Contrastive training of all prefixes: queries to find their documents among all of a batch."""

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from nestvec.errors import InputError, MissingExtraError, VectorsError
from nestvec.losses import blocks, fused, reference
from nestvec.losses.checks import at_least_float32, check_embeddings, check_labels, uncast
from nestvec.losses.cuts import Cuts, Weights
from nestvec.losses.gather import gather as gather_rows
from nestvec.losses.gather import own_rows
from nestvec.losses.targets import Targets
from nestvec.shapes import Bool, Float, Int64

SoftmaxLoss = Callable[[Tensor, Tensor, Tensor, Cuts, Targets, bool], Tensor]
_METHODS: dict[str, SoftmaxLoss] = {
    "blocks": blocks.softmax_loss,
    "reference": reference.softmax_loss,
}


def nested_info_nce(  # noqa: PLR0913  one call says all about a loss
    queries: Tensor,
    documents: Tensor,
    dims: Sequence[int],
    temperature: float | Tensor = 0.05,
    *,
    negatives: Tensor | None = None,
    weights: Weights = None,
    labels: Tensor | None = None,
    excluded: Tensor | None = None,
    margin: float | None = None,
    bidirectional: bool = False,
    cosine: bool = True,
    gather: bool = False,
    method: str = "blocks",
) -> Float[Tensor, ""]:
    """Σ over cuts of weight × InfoNCE (van den Oord et al., 2018) on the renormalised prefixes.

    `documents` [q, dim] holds in row i what query i of `queries` [q, dim] is to find among all
    documents and `negatives` [n, dim]; the candidates are these in this order. The value is that
    of Sentence Transformers' MatryoshkaLoss around MultipleNegativesRankingLoss with scale
    1/temperature and the same cuts.

    - `temperature`: a number, or a tensor that learns.
    - `labels` [q], whole numbers: rows of one label belong together, so a query has several
      positives, each with an equal share of its loss (Khosla et al., 2020, L_out).
    - `excluded` [q, candidates], true or false: candidates that are no negatives of a query,
      though not its positives.
    - `margin`: nor are those whose full-width score exceeds that of the query's (best) positive by
      more: they are likely to be right answers nobody labelled. Below 0 it leaves out more.
    - `bidirectional`: the mean of this and of documents finding their queries (CLIP); `negatives`
      are candidates for queries only.
    - `cosine=False`: plain inner products of prefixes; nothing is renormalised.
    - `gather`: candidates of all processes, gathered once (torch.distributed); the loss is of this
      process's queries. `labels` are gathered too; `excluded` has the columns of all.
    - `method`: "blocks", or "reference", which says the same cut by cut and has second
      derivatives, or "triton", fused for CUDA and so far tested in Triton's interpreter only.

    Half precision is computed in float32, under autocast too. Raises `DimsError` for cuts that do
    not fit, `VectorsError` for tensors that do not fit each other and `InputError` for options that
    do not, or a batch without a negative (in either direction).
    """
    _check_pairs(queries, documents, negatives)
    cuts = Cuts.of(dims, queries.shape[1], weights)
    _check_options(margin, excluded if bidirectional and gather else None)
    softmax_loss = _choose(method)
    asked, answers = at_least_float32(queries), at_least_float32(documents)
    pool = answers if negatives is None else torch.cat([answers, at_least_float32(negatives)])
    scale = _scale(temperature, asked)
    alike = None if labels is None else check_labels(labels, asked)

    def one_way(rows: Tensor, others: Tensor, left_out: Tensor | None) -> Tensor:
        candidates = gather_rows(others) if gather else others
        _check_candidates(len(rows), candidates, left_out)
        targets = _targets(rows, others, alike, gather, left_out, margin)
        with uncast(rows):
            return softmax_loss(rows, candidates, scale, cuts, targets, cosine)

    loss = one_way(asked, pool, excluded)
    if not bidirectional:
        return loss
    back = None if excluded is None else excluded[:, : len(queries)].T
    return (loss + one_way(answers, asked, back)) / 2


def _targets(
    asked: Float[Tensor, "q dim"],
    pool: Float[Tensor, "n dim"],
    labels: Int64[Tensor, " q"] | None,
    gather: bool,
    excluded: Bool[Tensor, "q candidates"] | None,
    margin: float | None,
) -> Targets:
    """Row i of `pool`, this process's part of the candidates, is for row i of `asked`."""
    if labels is None:
        first = own_rows(len(pool)) if gather else 0
        columns = torch.arange(first, first + len(asked), device=asked.device)
        return Targets.one_each(columns, asked, excluded, margin)
    # Negatives belong to nobody: the least number that there is labels nothing.
    nobody = labels.new_full((len(pool) - len(labels),), torch.iinfo(labels.dtype).min)
    of_pool = torch.cat([labels, nobody])
    of_pool = gather_rows(of_pool) if gather else of_pool
    return Targets.by_label(labels, of_pool, asked, excluded, margin)


def _scale(temperature: float | Tensor, like: Tensor) -> Float[Tensor, ""]:
    given = torch.as_tensor(temperature, device=like.device).to(like.dtype)
    # The scale, not the temperature: of what is nearly 0 it is not finite either.
    scale = given.reciprocal()
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
    """One document per query, all of one kind."""
    extra = {} if negatives is None else {"negatives": negatives}
    check_embeddings(queries=queries, documents=documents, **extra)
    if len(queries) != len(documents):
        raise VectorsError(
            f"{len(queries)} queries but {len(documents)} documents; documents[i] is for query i, "
            "and what is for no query goes into negatives"
        )
    if len(queries) == 0:
        raise InputError("there are no queries; give a batch of at least two pairs")


def _check_candidates(queries: int, candidates: Tensor, left_out: Tensor | None) -> None:
    """There is something to choose from, and exclusions are about it."""
    if len(candidates) < 2:
        raise InputError(
            "a batch of one pair has no negative; use a larger batch, "
            "or negatives, which serve queries alone (not bidirectional)"
        )
    if left_out is None:
        return
    wanted = (queries, len(candidates))
    fits = left_out.shape == wanted and left_out.device == candidates.device
    if not fits or left_out.dtype != torch.bool:
        raise InputError(
            f"excluded is {left_out.dtype} of shape {tuple(left_out.shape)} on {left_out.device}; "
            f"give true or false [queries, candidates], {list(wanted)}, on {candidates.device}"
        )


def _check_options(margin: float | None, one_sided: Tensor | None) -> None:
    """Margins are numbers; exclusions that name all processes' columns cannot be turned."""
    if margin is not None and not math.isfinite(margin):
        raise InputError(f"margin={margin} is to be a finite number, or None for none")
    if one_sided is not None:
        raise InputError(
            "excluded with gather says nothing of documents' queries in other processes; "
            "leave out bidirectional, or call twice with the sides exchanged"
        )
