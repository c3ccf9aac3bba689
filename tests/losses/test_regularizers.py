"""The spread-out regulariser, and signs with a straight-through gradient."""

import pytest
import torch
from torch.nn.functional import normalize

from nestvec.errors import InputError
from nestvec.losses import nested_info_nce, nested_spread_out, straight_through_sign


def test_spread_is_the_formula_over_all_pairs(batch):
    (rows,) = batch(9)
    expected = 0.0
    for dim in (4, 24):
        unit = normalize(rows[:, :dim])
        cosines = (unit @ unit.T)[~torch.eye(9, dtype=torch.bool)]
        excess = (cosines.square().mean() - 1 / dim).clamp(min=0)
        expected = expected + cosines.mean().square() + excess
    torch.testing.assert_close(nested_spread_out(rows, [24, 4]), expected)


def test_orthogonal_rows_are_spread_and_equal_ones_are_not():
    assert nested_spread_out(torch.eye(8), [8]) == 0
    assert nested_spread_out(torch.ones(5, 8), [8]) == pytest.approx(1 + 1 - 1 / 8)


def test_spread_out_trains_every_prefix(batch):
    (rows,) = batch(9)
    for dim in (4, 24):
        (gradient,) = torch.autograd.grad(nested_spread_out(rows + 1, [dim]), rows)
        assert (gradient[:, :dim].abs().amax(0) > 0).all()


def test_half_precision_is_computed_in_float32_and_autocast_changes_nothing():
    rows = 3 + torch.randn(512, 24)  # alike: their cosines sum to more than float16 holds
    expected = nested_spread_out(rows.half().float(), [4, 24])
    assert expected.isfinite()
    assert nested_spread_out(rows.half(), [4, 24]) == expected
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nested_spread_out(rows.half().float(), [4, 24]) == expected


def test_signs_go_forward_and_gradients_straight_through():
    values = torch.tensor([[-2.0, -0.5, 0.0, 0.5, 2.0]], requires_grad=True)
    signs = straight_through_sign(values)
    assert signs.tolist() == [[-1, -1, 1, 1, 1]]
    (signs * torch.arange(1.0, 6.0)).sum().backward()
    assert values.grad.tolist() == [[0, 2, 3, 4, 0]]


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_stops_all_gradients_is_refused(limit):
    with pytest.raises(InputError, match="stops every gradient"):
        straight_through_sign(torch.ones(2, 2), limit)


def test_bits_can_be_trained_at_every_prefix(batch):
    queries, documents = batch(10, 10)
    loss = nested_info_nce(
        straight_through_sign(queries, 9.0), straight_through_sign(documents, 9.0), [8, 24]
    )
    (gradient,) = torch.autograd.grad(loss, queries)
    assert (gradient.abs().amax(0) > 0).all()
