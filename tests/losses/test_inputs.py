"""What every public loss makes of unusual input: the right value, or one clear error."""

import inspect
import warnings

import pytest
import torch

from nestvec import losses
from nestvec.errors import DimsError, NestvecError, VectorsError

DIM, CLASSES = 12, 5
DIMS = [3, 8, 12]


def like(rows, n, dim=DIM):
    """Make `n` fixed rows of the same type, whole numbers apart, beside the ones of a test."""
    values = torch.randn(n, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return values.to(rows.dtype) if rows.is_floating_point() else values


def labels(rows):
    return torch.arange(len(rows)) % CLASSES


# The functions themselves, without the checks of types that the tests put around them.
F = {name: inspect.unwrap(getattr(losses, name)) for name in losses.__all__}
OF_PAIRS = {
    "nested_info_nce": lambda rows, dims: F["nested_info_nce"](rows, like(rows, len(rows)), dims),
    "nested_similarity": lambda rows, dims: F["nested_similarity"](
        rows, like(rows, len(rows)), dims
    ),
    "guardrail": lambda rows, _: F["guardrail"](rows, like(rows, len(rows))),
    "nested_neighbours": lambda rows, dims: F["nested_neighbours"](
        rows, dims, 3, teacher=like(rows, len(rows))
    ),
    "nested_spread_out": lambda rows, dims: F["nested_spread_out"](rows, dims),
}
OF_CLASSES = {
    "nested_cross_entropy": lambda rows, _: F["nested_cross_entropy"]([rows, rows], labels(rows)),
    "nested_tied_cross_entropy": lambda rows, dims: F["nested_tied_cross_entropy"](
        rows, like(rows, CLASSES), labels(rows), dims
    ),
    "nested_masked_lm": lambda rows, dims: F["nested_masked_lm"](
        rows[None], like(rows, CLASSES), labels(rows)[None], dims
    ),
}
OF_ROWS = {
    "nested_mse": lambda rows, dims: F["nested_mse"](rows, like(rows, len(rows)), dims),
}
MAPS = {
    "straight_through_sign": lambda rows, _: F["straight_through_sign"](rows),
    "tied_logits": lambda rows, dims: torch.stack(
        F["tied_logits"](rows, like(rows, CLASSES), sorted(dims))
    ),
    "gather": lambda rows, _: F["gather"](rows),
    "cached_encode": lambda rows, _: F["cached_encode"](lambda piece: piece * 1, [rows]),
}
LOSSES = OF_PAIRS | OF_CLASSES | OF_ROWS
ALL = LOSSES | MAPS
WITHOUT_DIMS = {
    "guardrail", "nested_cross_entropy", "straight_through_sign", "gather", "cached_encode",
}  # fmt: skip
OF_ANY_TYPE = {"gather", "cached_encode"}


def random_rows(n=7, dtype=torch.float64):
    return torch.randn(n, DIM, dtype=torch.float64).to(dtype).requires_grad_()


def without(names):
    return sorted(set(ALL) - set(names))


def test_every_public_function_is_tested():
    assert set(ALL) == set(losses.__all__)


@pytest.mark.parametrize("name", sorted(OF_PAIRS))
@pytest.mark.door("a batch of one row", "losses of pairs are 0 with a warning, others as always")
def test_one_row_has_no_pairs_so_the_loss_is_0_with_one_warning(name):
    rows = random_rows(1)
    with pytest.warns(UserWarning) as caught:
        loss = ALL[name](rows, DIMS)
    assert len(caught) == 1
    assert "teaches nothing" in str(caught[0].message)
    assert loss == 0
    loss.backward()
    assert rows.grad is not None
    assert not rows.grad.any()


@pytest.mark.parametrize("name", sorted({*OF_CLASSES, *OF_ROWS}))
def test_a_loss_without_pairs_is_the_mean_of_the_losses_of_its_rows(name):
    rows = random_rows(CLASSES)
    values = [ALL[name](row[None], DIMS) for row in rows[:1]]
    assert values[0] > 0
    values[0].backward()
    assert rows.grad[0].any()


def test_both_directions_of_one_pair_make_one_warning():
    with pytest.warns(UserWarning, match="one pair") as caught:
        losses.nested_info_nce(random_rows(1), random_rows(1), DIMS, bidirectional=True)
    assert len(caught) == 1


@pytest.mark.parametrize("name", sorted({*OF_PAIRS, *OF_ROWS}))
@pytest.mark.door("a batch of no rows", "an error; classification has the loss 0")
def test_no_rows_are_refused(name):
    with pytest.raises(NestvecError, match=r"0 rows|no queries"):
        ALL[name](random_rows(0), DIMS)


@pytest.mark.parametrize("name", sorted(OF_CLASSES))
def test_no_rows_to_classify_have_the_loss_0(name):
    # As a batch in which no token is masked.
    rows = random_rows(0)
    loss = ALL[name](rows, DIMS)
    assert loss == 0
    loss.backward()
    assert rows.grad.shape == (0, DIM)


@pytest.mark.parametrize("name", sorted(MAPS))
def test_no_rows_are_mapped_to_no_rows(name):
    assert ALL[name](random_rows(0), DIMS).shape[-2] == 0


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.door("NaN or Inf in embeddings", "the loss is NaN or Inf too, which scalers look for")
def test_a_value_that_is_not_finite_is_never_hidden(name, value):
    rows = random_rows().detach()
    rows[2, 1] = value
    result = ALL[name](rows, DIMS)
    if (name, value) == ("straight_through_sign", float("inf")):
        assert result[2, 1] == 1
    else:
        assert not result.isfinite().all()


@pytest.mark.parametrize("name", without(OF_ANY_TYPE))
@pytest.mark.parametrize("change", [torch.Tensor.int, torch.Tensor.bool, lambda rows: rows[0]])
def test_embeddings_that_are_no_rows_of_floating_point_are_refused(name, change):
    with pytest.raises(VectorsError, match="of floating point"):
        ALL[name](change(random_rows().detach()), DIMS)


@pytest.mark.parametrize("name", sorted(OF_ANY_TYPE))
def test_whole_numbers_are_gathered_and_encoded_as_they_are(name):
    rows = torch.arange(6).reshape(2, 3)
    assert ALL[name](rows, DIMS).equal(rows)


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    rows = random_rows(dtype=dtype)
    result = ALL[name](rows, DIMS)
    if name in LOSSES:
        # The fixed rows must be rounded alike, so they are made in half precision first.
        assert result.dtype == torch.float32
        expected = reference_in_float32(name, rows)
        torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-7)
    elif name == "tied_logits":  # products are made in half precision, and summed in float32
        torch.testing.assert_close(result, ALL[name](rows.float(), DIMS), rtol=0.05, atol=0.1)
    else:
        assert result.dtype == dtype
        assert result.equal(ALL[name](rows.float(), DIMS).to(dtype))
    result.float().sum().backward()
    assert rows.grad.dtype == dtype
    assert rows.grad.isfinite().all()


def reference_in_float32(name, rows):
    """Compute the loss in float32 of rows, and fixed rows beside them, rounded to half."""
    with pytest.MonkeyPatch.context() as patch:
        make, dtype = like, rows.dtype
        patch.setitem(globals(), "like", lambda r, *shape: make(r, *shape).to(dtype).to(r.dtype))
        return ALL[name](rows.float(), DIMS)


@pytest.mark.parametrize("name", sorted(ALL))
def test_rows_that_are_not_contiguous_have_the_same_value_and_gradient(name):
    storage = torch.randn(DIM * 2, 7, dtype=torch.float64)
    strided = storage.T[:, ::2].requires_grad_()
    packed = strided.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    assert not strided.is_contiguous()
    results = [ALL[name](rows, DIMS) for rows in (strided, packed)]
    torch.testing.assert_close(*results)
    for result in results:
        result.square().sum().backward()
    torch.testing.assert_close(strided.grad, packed.grad)


@pytest.mark.parametrize("name", without({*WITHOUT_DIMS, "tied_logits"}))
def test_the_order_of_dims_does_not_matter(name):
    rows = random_rows()
    torch.testing.assert_close(ALL[name](rows, [8, 12, 3]), ALL[name](rows, DIMS))


@pytest.mark.parametrize("name", without(WITHOUT_DIMS))
@pytest.mark.parametrize("dims", [[3, 3], [3, DIM + 1], [0, 3], [-1], []])
def test_dims_that_repeat_or_do_not_fit_are_refused(name, dims):
    with pytest.raises(DimsError, match="dim"):
        ALL[name](random_rows(), dims)


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_ordinary_batch_makes_no_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ALL[name](random_rows(), DIMS).isfinite().all()


def test_neighbours_of_a_short_batch_are_all_other_rows():
    rows = random_rows(4)
    short = losses.nested_neighbours(rows, [3], 10)
    torch.testing.assert_close(short, losses.nested_neighbours(rows, [3], 3))
    assert short > 0
