"""Nested classification: MRL is a sum over heads; MRL-E equals it without making logits."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from nestvec.errors import InputError, VectorsError
from nestvec.losses import (
    nested_cross_entropy,
    nested_masked_lm,
    nested_tied_cross_entropy,
    tied_logits,
)

DIMS = [16, 4, 24]
LABELS = torch.tensor([3, 0, -100, 4, 1, 2, -100, 0])


def gradients(loss, *leaves):
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def test_one_prefix_is_the_plain_cross_entropy():
    logits = torch.randn(8, 5)
    for smoothing in (0.0, 0.1):
        nested = nested_cross_entropy([logits], LABELS, label_smoothing=smoothing)
        torch.testing.assert_close(nested, cross_entropy(logits, LABELS, label_smoothing=smoothing))


def test_prefixes_add_up_by_their_weights():
    logits = list(torch.randn(3, 8, 5))
    plain = [cross_entropy(tensor, LABELS) for tensor in logits]
    torch.testing.assert_close(
        nested_cross_entropy(logits, LABELS, [0.5, 1.0, 3.0]),
        0.5 * plain[0] + plain[1] + 3 * plain[2],
    )
    torch.testing.assert_close(
        nested_cross_entropy(logits, LABELS, "front"), 2 * plain[0] + plain[1] + plain[2]
    )


def test_tied_logits_are_those_of_column_slices(batch):
    embeddings, classifier = batch(8, 5)
    bias = torch.randn(5, dtype=torch.float64)
    for dim, logits in zip(DIMS, tied_logits(embeddings, classifier, DIMS, bias), strict=True):
        torch.testing.assert_close(logits, embeddings[:, :dim] @ classifier[:, :dim].T + bias)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("biased", [True, False])
def test_the_tied_loss_is_that_of_tied_logits(batch, smoothing, biased):
    embeddings, classifier = batch(8, 5)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True) if biased else None
    leaves = [leaf for leaf in (embeddings, classifier, bias) if leaf is not None]
    weights = [1.0, 2.0, 0.5]
    by_logits = nested_cross_entropy(
        tied_logits(embeddings, classifier, DIMS, bias), LABELS, weights,
        label_smoothing=smoothing,
    )  # fmt: skip
    in_blocks = nested_tied_cross_entropy(
        embeddings, classifier, LABELS, DIMS, bias, weights, label_smoothing=smoothing
    )
    torch.testing.assert_close(gradients(in_blocks, *leaves), gradients(by_logits, *leaves))


def test_the_gradient_equals_finite_differences(batch):
    embeddings, classifier = batch(5, 4, dim=6)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 3, -100, 1, 2])

    def loss(x, w, b):
        return nested_tied_cross_entropy(x, w, labels, [6, 2], b, label_smoothing=0.1)

    assert torch.autograd.gradcheck(loss, (embeddings, classifier, bias))


def test_every_block_of_columns_is_trained(batch):
    embeddings, classifier = batch(8, 5)
    loss = nested_tied_cross_entropy(embeddings, classifier, LABELS, DIMS)
    for gradient in torch.autograd.grad(loss, (embeddings, classifier)):
        counted = gradient if len(gradient) == 5 else gradient[LABELS >= 0]
        assert (counted.abs() > 0).all()


def test_rows_that_do_not_count_get_no_gradient(batch):
    embeddings, classifier = batch(8, 5)
    loss = nested_tied_cross_entropy(embeddings, classifier, LABELS, DIMS)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    assert (gradient[LABELS == -100] == 0).all()


def test_a_batch_whose_rows_are_all_ignored_has_no_loss(batch):
    embeddings, classifier = leaves = batch(2, 5)
    ignored = torch.full((2,), -100)
    for loss in (
        nested_tied_cross_entropy(embeddings, classifier, ignored, DIMS),
        nested_cross_entropy(tied_logits(embeddings, classifier, DIMS), ignored),
    ):
        value, *slopes = gradients(loss, *leaves)
        assert value == 0
        assert not any(slope.any() for slope in slopes)


def test_an_ignored_batch_in_half_precision_does_not_overflow():
    rows = torch.full((600, 24), 60_000.0, dtype=torch.float16)
    ignored = torch.full((600,), -100)
    assert nested_tied_cross_entropy(rows, rows[:5], ignored, DIMS) == 0


def test_under_autocast_rows_may_be_half_and_the_sums_are_not(batch):
    embeddings, classifier = (rows.detach().float() for rows in batch(8, 5))
    rows = embeddings.bfloat16()
    plain = nested_tied_cross_entropy(rows.float(), classifier, LABELS, DIMS, label_smoothing=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = nested_tied_cross_entropy(rows, classifier, LABELS, DIMS, label_smoothing=0.1)
        logits = tied_logits(rows, classifier, DIMS)
    assert cast == plain
    assert {tensor.dtype for tensor in logits} == {torch.float32}


def test_masked_language_modelling_is_the_tied_loss_of_all_tokens():
    hidden, tokens = torch.randn(2, 3, 8), torch.randn(11, 8)
    labels = torch.tensor([[-100, 4, -100], [10, -100, 0]])
    torch.testing.assert_close(
        nested_masked_lm(hidden, tokens, labels, [2, 8]),
        nested_tied_cross_entropy(hidden.reshape(6, 8), tokens, labels.reshape(6), [2, 8]),
    )
    with pytest.raises(VectorsError, match="batch, length"):
        nested_masked_lm(hidden, tokens, labels.T, [2, 8])


@pytest.mark.parametrize("wrong", [5, -1])
def test_a_label_out_of_range_is_refused(wrong):
    labels = LABELS.clone()
    labels[0] = wrong
    with pytest.raises(InputError, match=f"label {wrong} is out of range for 5 classes"):
        nested_cross_entropy([torch.randn(8, 5)], labels)
    with pytest.raises(InputError, match="out of range"):
        nested_tied_cross_entropy(torch.randn(8, 24), torch.randn(5, 24), labels, DIMS)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_label_smoothing_is_a_share(share):
    with pytest.raises(InputError, match="no share"):
        nested_cross_entropy([torch.randn(8, 5)], LABELS, label_smoothing=share)
    with pytest.raises(InputError, match="no share"):
        nested_tied_cross_entropy(
            torch.randn(8, 24), torch.randn(5, 24), LABELS, DIMS, label_smoothing=share
        )


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        (LABELS.float(), "whole numbers"),
        (LABELS > 0, "whole numbers"),
        (LABELS.to("meta"), "on meta"),
    ],
)
def test_labels_are_whole_numbers_where_the_rows_are(labels, wrong):
    with pytest.raises(InputError, match=wrong):
        nested_cross_entropy([torch.randn(8, 5)], labels)
    with pytest.raises(InputError, match=wrong):
        nested_tied_cross_entropy(torch.randn(8, 24), torch.randn(5, 24), labels, DIMS)


@pytest.mark.parametrize(
    ("second", "wrong"),
    [
        (torch.randn(7, 5), r"\[8, 7\] rows"),
        (torch.randn(8, 4), "widths differ"),
        (torch.randn(8, 5).double(), "dtypes differ"),
        (torch.randn(8, 5, device="meta"), "devices differ"),
    ],
)
def test_logits_of_all_prefixes_have_the_same_rows_and_classes(second, wrong):
    with pytest.raises(VectorsError, match=wrong):
        nested_cross_entropy([torch.randn(8, 5), second], LABELS)


@pytest.mark.parametrize("bias", [torch.zeros(4), torch.zeros(5, device="meta")])
def test_a_bias_is_one_number_per_class(bias):
    rows, classifier = torch.randn(8, 24), torch.randn(5, 24)
    with pytest.raises(VectorsError, match="one number per class"):
        nested_tied_cross_entropy(rows, classifier, LABELS, DIMS, bias)
    with pytest.raises(VectorsError, match="one number per class"):
        tied_logits(rows, classifier, DIMS, bias)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="one per row"):
        nested_cross_entropy([torch.randn(8, 5)], LABELS[:3])
    with pytest.raises(InputError, match="one tensor per prefix"):
        nested_cross_entropy([], LABELS)
    with pytest.raises(InputError, match="1 prefixes"):
        nested_cross_entropy([torch.randn(8, 5)], LABELS, [1.0, 2.0])
