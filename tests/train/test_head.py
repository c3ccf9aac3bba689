"""Heads: one classifier per prefix, or one for all prefixes."""

import pytest

torch = pytest.importorskip("torch")

import nestvec as nv  # noqa: E402
from nestvec.errors import DimsError, InputError, VectorsError  # noqa: E402
from nestvec.losses import nested_cross_entropy  # noqa: E402

DIMS = [16, 4, 8]


@pytest.fixture(params=[False, True], ids=["MRL", "MRL-E"])
def head(request):
    torch.manual_seed(0)
    return nv.NestedHead(DIMS, 5, tied=request.param).double()


def test_every_classifier_reads_its_prefix_alone(head):
    rows = torch.randn(6, 16, dtype=torch.float64)
    for dim, logits in zip((4, 8, 16), head(rows), strict=True):
        changed = rows.clone()
        changed[:, dim:] = 7
        again = head(changed)[head.dims.index(dim)]
        torch.testing.assert_close(again, logits)
        weight, bias = head.classifier(dim)
        torch.testing.assert_close(logits, rows[:, :dim] @ weight.T + bias)


def test_the_loss_is_the_nested_cross_entropy_of_the_logits(head):
    rows = torch.randn(6, 16, dtype=torch.float64)
    labels = torch.tensor([0, 4, 2, 1, 1, 3])
    weights = [3.0, 1.0, 0.5]
    loss = head.loss(rows, labels, weights, label_smoothing=0.1)
    expected = nested_cross_entropy(head(rows), labels, weights, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, list(head.parameters()))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, list(head.parameters())))
    assert all(gradient.abs().min() > 0 for gradient in gradients)


def test_a_tied_head_has_the_parameters_of_full_width_alone():
    tied, untied = (nv.NestedHead(DIMS, 5, tied=tied) for tied in (True, False))
    assert sum(p.numel() for p in tied.parameters()) == 5 * (16 + 1)
    assert sum(p.numel() for p in untied.parameters()) == 5 * (16 + 8 + 4 + 3)


def test_it_is_saved_and_loaded_like_any_module(head):
    loaded = nv.NestedHead(DIMS, 5, tied=head.tied).double()
    loaded.load_state_dict(head.state_dict())
    rows = torch.randn(2, 16, dtype=torch.float64)
    torch.testing.assert_close(loaded(rows), head(rows))


def test_it_works_under_autocast_on_half_precision_rows(head):
    head, model = head.float(), torch.nn.Linear(3, 16)
    labels = torch.tensor([0, 4, 2, 1, 1, 3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = model(torch.randn(6, 3))
        assert rows.dtype == torch.bfloat16
        loss = head.loss(rows, labels)
        logits = head(rows)
    torch.testing.assert_close(loss, head.loss(rows.float(), labels), rtol=0.02, atol=0)
    for cast, plain in zip(logits, head(rows.float()), strict=True):
        torch.testing.assert_close(cast.float(), plain, rtol=0, atol=0.05)


def test_inputs_that_do_not_fit_are_refused(head):
    with pytest.raises(VectorsError, match="dtypes differ"):
        head(torch.randn(3, 16))
    with pytest.raises(VectorsError, match="devices differ"):
        head.loss(torch.randn(3, 16, dtype=torch.float64, device="meta"), torch.tensor([0, 1, 2]))
    with pytest.raises(InputError, match="12 dimensions"):
        head(torch.randn(3, 12))
    with pytest.raises(InputError, match="none of the dims"):
        head.classifier(5)
    with pytest.raises(DimsError, match="repeats"):
        nv.NestedHead([4, 4], 5)
    with pytest.raises(InputError, match="2 or more"):
        nv.NestedHead(DIMS, 1)
