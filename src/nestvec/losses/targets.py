"""Targets of a softmax loss: the positives of each query, and the candidates left out for it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nestvec.shapes import Bool, Float, Int64


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Pairs of a query and its positive candidate, by rising query, and the excluded candidates.

    `share[i]` is the weight of pair i in the loss of its query; shares of one query sum to 1.
    `excluded` marks candidates that are no negatives of a query. A positive is never excluded.
    """

    rows: Int64[Tensor, " pairs"]
    columns: Int64[Tensor, " pairs"]
    share: Float[Tensor, " pairs"]
    excluded: Bool[Tensor, "q n"] | None = None
    margin: float | None = None
    """Also excludes candidates whose full-width score is above the best positive's by more."""

    @classmethod
    def one_positive(
        cls,
        columns: Int64[Tensor, " q"],
        like: Tensor,
        excluded: Bool[Tensor, "q n"] | None = None,
        margin: float | None = None,
    ) -> "Targets":
        """Make candidate `columns[i]` the one positive of query i."""
        rows = torch.arange(len(columns), device=columns.device)
        return cls(rows, columns, like.new_ones(len(columns)), excluded, margin)

    @classmethod
    def same_label(
        cls,
        queries: Int64[Tensor, " q"],
        candidates: Int64[Tensor, " n"],
        like: Tensor,
        excluded: Bool[Tensor, "q n"] | None = None,
        margin: float | None = None,
    ) -> "Targets":
        """Make all candidates with the label of a query its positives, in equal shares."""
        # By sorting, which needs no q × n table.
        order = candidates.argsort(stable=True)
        sorted_labels = candidates[order]
        start = torch.searchsorted(sorted_labels, queries)
        count = torch.searchsorted(sorted_labels, queries, right=True) - start
        rows = torch.repeat_interleave(torch.arange(len(queries), device=like.device), count)
        shift = torch.repeat_interleave(start - (count.cumsum(0) - count), count)
        columns = order[shift + torch.arange(len(rows), device=like.device)]
        return cls(rows, columns, 1 / count.to(like.dtype)[rows], excluded, margin)

    def for_query_range(self, start: int, stop: int) -> "Targets":
        """Select the targets of the queries start..stop−1, renumbered from 0."""
        edges = torch.searchsorted(self.rows, self.rows.new_tensor([start, stop])).tolist()
        part = slice(*edges)
        excluded = None if self.excluded is None else self.excluded[start:stop]
        return Targets(
            self.rows[part] - start, self.columns[part], self.share[part], excluded, self.margin
        )

    def excluded_mask(self, full_scores: Float[Tensor, "q n"] | None) -> Bool[Tensor, "q n"] | None:
        """Mark the candidates that `excluded` and `margin` leave out; None where there are none.

        `margin` needs the scores at full width.
        """
        mask = self.excluded
        if self.margin is not None and full_scores is not None:
            best = full_scores.new_full((len(full_scores),), -torch.inf)
            best.scatter_reduce_(0, self.rows, full_scores[self.rows, self.columns], "amax")
            above = full_scores > best[:, None] + self.margin
            mask = above if mask is None else above | mask
        if mask is None:
            return None
        mask = mask.clone()
        mask[self.rows, self.columns] = False
        return mask
