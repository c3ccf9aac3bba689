"""Classifiers for every size of one embedding."""

from collections.abc import Sequence

from torch import Tensor, nn

from nestvec.errors import InputError
from nestvec.losses.checks import check_embeddings, match_parameter_dtype
from nestvec.losses.cross_entropy import (
    nested_cross_entropy,
    nested_tied_cross_entropy,
    tied_logits,
)
from nestvec.losses.nesting_dims import NestingDims, Weights
from nestvec.shapes import Float, Int64


class NestedHead(nn.Module):
    """Logits from every prefix: a linear classifier per size (MRL), or one for all (MRL-E).

    `dims` are the sizes, in any order; the largest is the width of the embeddings. With
    `tied=True` size m uses the first m columns of one classifier, which costs no parameters beyond
    it (Kusupati et al., 2022: 10 points less at 8 dims, within 1 from 16 on); the bias is shared.
    """

    def __init__(
        self, dims: Sequence[int], classes: int, *, tied: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"classes={classes} leave nothing to tell apart; use 2 or more")
        self.dims = NestingDims.for_widest(dims).dims
        self.tied = tied
        widths = self.dims[-1:] if tied else self.dims
        self.classifiers = nn.ModuleList(nn.Linear(width, classes, bias) for width in widths)

    def forward(self, embeddings: Float[Tensor, "n dim"]) -> list[Float[Tensor, "n classes"]]:
        """One tensor of logits per size, smallest first."""
        rows = self._fitting(embeddings)
        if self.tied:
            (only,) = self.classifiers
            return tied_logits(rows, only.weight, self.dims, only.bias)
        sizes = zip(self.dims, self.classifiers, strict=True)
        return [classifier(rows[:, :dim]) for dim, classifier in sizes]

    def loss(
        self,
        embeddings: Float[Tensor, "n dim"],
        labels: Int64[Tensor, " n"],
        weights: Weights = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The nested cross-entropy; `weights` are for the sizes from the smallest on.

        For a tied head without making the logits of all sizes.
        """
        if not self.tied:
            return nested_cross_entropy(
                self(embeddings), labels, weights, label_smoothing=label_smoothing
            )
        (only,) = self.classifiers
        return nested_tied_cross_entropy(
            self._fitting(embeddings), only.weight, labels, self.dims, only.bias, weights,
            label_smoothing=label_smoothing,
        )  # fmt: skip

    def classifier(self, dim: int) -> tuple[Float[Tensor, "classes dim"], Tensor | None]:
        """The weight and bias that size `dim` uses."""
        if dim not in self.dims:
            raise InputError(f"dim={dim} is none of the sizes {list(self.dims)}")
        linear = self.classifiers[0 if self.tied else self.dims.index(dim)]
        return linear.weight[:, :dim], linear.bias

    def _fitting(self, embeddings: Tensor) -> Float[Tensor, "n dim"]:
        """The embeddings, of the head's width, dtype and device, else an error."""
        if embeddings.ndim == 2 and embeddings.shape[1] != self.dims[-1]:
            raise InputError(
                f"embeddings have {embeddings.shape[1]} dimensions, the head is for "
                f"{self.dims[-1]}; the largest of its sizes is to be the width of the model"
            )
        widest = self.classifiers[-1].weight
        rows = match_parameter_dtype(embeddings, widest)
        check_embeddings(embeddings=rows, classifier=widest)
        return rows
