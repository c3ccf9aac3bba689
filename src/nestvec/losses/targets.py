"""Which candidate is right for which query, and which are left out of the comparison."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nestvec.shapes import Bool, Float, Int64


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Pairs (query, candidate) that belong together, by rising query, and what is left out.

    `share[i]` is how much pair i counts for its query; shares of one query sum to 1. `excluded`
    names candidates that are no negatives of a query. Whatever they say, a pair is never left out.
    """

    rows: Int64[Tensor, " pairs"]
    columns: Int64[Tensor, " pairs"]
    share: Float[Tensor, " pairs"]
    excluded: Bool[Tensor, "q n"] | None = None
    margin: float | None = None
    """Also left out: candidates whose full-width score is above the best pair's by more."""

    @classmethod
    def one_each(
        cls,
        columns: Int64[Tensor, " q"],
        like: Tensor,
        excluded: Bool[Tensor, "q n"] | None = None,
        margin: float | None = None,
    ) -> "Targets":
        """Candidate `columns[i]` is the one for query i."""
        rows = torch.arange(len(columns), device=columns.device)
        return cls(rows, columns, like.new_ones(len(columns)), excluded, margin)

    @classmethod
    def by_label(
        cls,
        queries: Int64[Tensor, " q"],
        candidates: Int64[Tensor, " n"],
        like: Tensor,
        excluded: Bool[Tensor, "q n"] | None = None,
        margin: float | None = None,
    ) -> "Targets":
        """All candidates of a query's own label are right for it, in equal shares."""
        # By sorting, so that no q × n table is made.
        order = candidates.argsort(stable=True)
        ordered = candidates[order]
        first = torch.searchsorted(ordered, queries)
        count = torch.searchsorted(ordered, queries, right=True) - first
        rows = torch.repeat_interleave(torch.arange(len(queries), device=like.device), count)
        start = torch.repeat_interleave(first - (count.cumsum(0) - count), count)
        columns = order[start + torch.arange(len(rows), device=like.device)]
        return cls(rows, columns, 1 / count.to(like.dtype)[rows], excluded, margin)

    def of_rows(self, first: int, last: int) -> "Targets":
        """Those of the queries first..last−1, counted from the first of them."""
        edges = torch.searchsorted(self.rows, self.rows.new_tensor([first, last])).tolist()
        part = slice(*edges)
        excluded = None if self.excluded is None else self.excluded[first:last]
        return Targets(
            self.rows[part] - first, self.columns[part], self.share[part], excluded, self.margin
        )

    def left_out(self, full: Float[Tensor, "q n"] | None) -> Bool[Tensor, "q n"] | None:
        """Who is left out, given the full-width scores that `margin` is about; None: nobody."""
        out = self.excluded
        if self.margin is not None and full is not None:
            best = full.new_full((len(full),), -torch.inf)
            best.scatter_reduce_(0, self.rows, full[self.rows, self.columns], "amax")
            above = full > best[:, None] + self.margin
            out = above if out is None else above | out
        if out is None:
            return None
        out = out.clone()
        out[self.rows, self.columns] = False
        return out
