"""Distillation: zero against oneself, gradients at every prefix, none for the teacher."""

import pytest
import torch
from torch.nn.functional import mse_loss, normalize

from nestvec.errors import InputError, VectorsError
from nestvec.losses import guardrail, nested_mse, nested_neighbours, nested_similarity

DIMS = [4, 16, 24]


@torch.no_grad()
def test_a_model_has_nothing_to_learn_from_itself_at_any_prefix(batch):
    (rows,) = batch(12)
    longer = 3 * rows
    assert nested_mse(rows, longer, DIMS) == pytest.approx(0, abs=1e-12)
    assert nested_mse(rows, longer, DIMS, cosine=False) > 1
    assert guardrail(rows, longer) == pytest.approx(0, abs=1e-12)
    assert nested_similarity(rows, rows, [24]) == pytest.approx(0, abs=1e-12)
    assert nested_neighbours(rows, [24], 5) == pytest.approx(0, abs=1e-9)


def test_one_prefix_is_the_plain_loss_on_renormalised_prefixes(batch):
    student, teacher = batch(12, 12)
    expected = mse_loss(normalize(student[:, :16]), normalize(teacher[:, :16]))
    torch.testing.assert_close(nested_mse(student, teacher, [16]), expected)


@torch.no_grad()
def test_the_guardrail_allows_rotations_and_penalises_other_changes(batch):
    rows, other = batch(12, 12)
    rotation, _ = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64))
    assert guardrail(rows @ rotation, rows) == pytest.approx(0, abs=1e-12)
    assert guardrail(other, rows) > 0.01


def test_teachers_may_be_wider(batch):
    (student,), (teacher,) = batch(12), batch(12, dim=40)
    for loss in (
        nested_mse(student, teacher, DIMS),
        nested_similarity(student, teacher, DIMS),
        guardrail(student, teacher),
        nested_neighbours(student, DIMS, 5, teacher=teacher),
    ):
        assert loss > 0


@pytest.mark.parametrize("loss", [nested_mse, nested_similarity])
def test_every_prefix_is_trained_and_no_teacher_is(batch, loss):
    student, teacher = batch(12, 12)
    loss(student, teacher, DIMS).backward()
    assert teacher.grad is None
    for dim in DIMS:
        (gradient,) = torch.autograd.grad(loss(student, teacher, [dim]), student)
        assert (gradient[:, :dim].abs().amax(0) > 0).all()
        assert not gradient[:, dim:].any()


def test_neighbours_train_prefixes_towards_a_full_width_that_gets_no_gradient(batch):
    (rows,) = batch(12)
    for dim in (4, 16):
        (gradient,) = torch.autograd.grad(nested_neighbours(rows, [dim], 5), rows)
        assert (gradient[:, :dim].abs().amax(0) > 0).all()
        assert not gradient[:, dim:].any()


def test_neighbours_are_compared_as_distributions(batch):
    rows, teacher = batch(6, 6)
    unit, taught = normalize(rows[:, :4]), normalize(teacher)
    total = 0.0
    for i in range(6):
        target = (taught @ taught[i]).detach().clone()
        target[i] = -torch.inf
        nearest = target.topk(3).indices
        p = (target[nearest] / 0.1).softmax(0)
        log_share = ((unit @ unit[i])[nearest] / 0.1).log_softmax(0)
        total = total + (p * (p.log() - log_share)).sum() / 6
    torch.testing.assert_close(nested_neighbours(rows, [4], 3, 0.1, teacher=teacher), total)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_autocast_changes_nothing(batch, dtype):
    student, teacher = (rows.detach().to(dtype) for rows in batch(12, 12))
    losses = {
        "mse": lambda s, t: nested_mse(s, t, DIMS),
        "similarity": lambda s, t: nested_similarity(s, t, DIMS),
        "guardrail": guardrail,
        "neighbours": lambda s, t: nested_neighbours(s, DIMS, 5, teacher=t),
    }
    for loss in losses.values():
        expected = loss(student.float(), teacher.float())
        assert loss(student, teacher) == expected
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert loss(student.float(), teacher.float()) == expected


def test_inputs_that_do_not_fit_are_refused(batch):
    (rows,), (fewer,), (single,) = batch(12), batch(11), batch(12, dtype=torch.float32)
    with pytest.raises(VectorsError, match="same batch"):
        nested_mse(rows, fewer, DIMS)
    with pytest.raises(VectorsError, match="float32"):
        nested_similarity(rows, single, DIMS)
    with pytest.raises(InputError, match="k >= 1"):
        nested_neighbours(rows, DIMS, 0)
    for temperature in (0.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="finite temperature"):
            nested_neighbours(rows, DIMS, 5, temperature)
