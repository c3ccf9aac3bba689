"""Classifiers for every prefix of an embedding."""

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
    """Logits from every prefix: a linear classifier per prefix (MRL), or one for all (MRL-E).

    `dims` are in any order; the largest is the width of the embeddings. With `tied=True` (MRL-E) a
    prefix of m dims uses the first m columns of one classifier, which costs no further parameters
    (Kusupati et al., 2022: 10 points less at 8 dims, within 1 from 16 on); the bias is shared.
    """

    def __init__(
        self, dims: Sequence[int], classes: int, *, tied: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"classes={classes} leaves nothing to classify; use 2 or more")
        self.dims = NestingDims.for_widest(dims).dims
        self.tied = tied
        widths = self.dims[-1:] if tied else self.dims
        self.classifiers = nn.ModuleList(nn.Linear(width, classes, bias) for width in widths)

    def forward(self, embeddings: Float[Tensor, "n dim"]) -> list[Float[Tensor, "n classes"]]:
        """Compute one tensor of logits per prefix, smallest first."""
        rows = self._check_embeddings(embeddings)
        if self.tied:
            (shared,) = self.classifiers
            return tied_logits(rows, shared.weight, self.dims, shared.bias)
        pairs = zip(self.dims, self.classifiers, strict=True)
        return [classifier(rows[:, :dim]) for dim, classifier in pairs]

    def loss(
        self,
        embeddings: Float[Tensor, "n dim"],
        labels: Int64[Tensor, " n"],
        weights: Weights = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Compute the nested cross-entropy; `weights` are for the prefixes from the smallest on.

        A tied head does so without making the logits of all prefixes.
        """
        if not self.tied:
            return nested_cross_entropy(
                self(embeddings), labels, weights, label_smoothing=label_smoothing
            )
        (shared,) = self.classifiers
        return nested_tied_cross_entropy(
            self._check_embeddings(embeddings), shared.weight, labels, self.dims, shared.bias,
            weights, label_smoothing=label_smoothing,
        )  # fmt: skip

    def classifier(self, dim: int) -> tuple[Float[Tensor, "classes dim"], Tensor | None]:
        """Get the weight and bias that the prefix of `dim` dimensions uses."""
        if dim not in self.dims:
            raise InputError(f"dim={dim} is none of the dims {list(self.dims)}; use one of them")
        linear = self.classifiers[0 if self.tied else self.dims.index(dim)]
        return linear.weight[:, :dim], linear.bias

    def _check_embeddings(self, embeddings: Tensor) -> Float[Tensor, "n dim"]:
        """Check that embeddings have the width, dtype and device of the head."""
        if embeddings.ndim == 2 and embeddings.shape[1] != self.dims[-1]:
            raise InputError(
                f"embeddings have {embeddings.shape[1]} dimensions and the head takes "
                f"{self.dims[-1]}; the largest of its dims must be the width of the model"
            )
        widest = self.classifiers[-1].weight
        rows = match_parameter_dtype(embeddings, widest)
        check_embeddings(embeddings=rows, classifier=widest)
        return rows
