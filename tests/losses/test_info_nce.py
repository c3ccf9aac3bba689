"""Nested InfoNCE: the sum of plain losses on prefixes, in two methods with equal gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from nestvec.errors import DimsError, InputError, VectorsError
from nestvec.losses import blocks, nested_info_nce
from nestvec.losses.nesting_dims import NestingDims
from nestvec.losses.targets import Targets

DIMS = [24, 4, 16, 9]
OPTIONS = {
    "plain": {},
    "weights": {"weights": [1.0, 2.0, 0.5, 1.5]},
    "front": {"weights": "front"},
    "bidirectional": {"bidirectional": True},
    "inner products": {"cosine": False, "temperature": 2.0},
    "cold": {"temperature": 0.005},
    "labels": {"labels": torch.arange(40) % 7},
    "labels both ways": {"labels": torch.arange(40) % 7, "bidirectional": True},
    "margin": {"margin": 0.1},
    "margin and labels": {"margin": -0.1, "labels": torch.arange(40) % 7},
    "margin of inner products": {"margin": 0.1, "cosine": False, "temperature": 2.0},
    "excluded": {"excluded": torch.arange(40 * 55).reshape(40, 55) % 3 == 1},
    "excluded both ways": {
        "excluded": torch.arange(40 * 55).reshape(40, 55) % 3 == 1,
        "bidirectional": True,
        "temperature": 0.01,
    },
}


def value_and_gradients(loss, *leaves):
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def plain_info_nce(queries, documents, temperature=0.05):
    """Textbook InfoNCE at one width."""
    logits = normalize(queries) @ normalize(documents).T / temperature
    return cross_entropy(logits, torch.arange(len(queries)))


@pytest.fixture(params=[64, 7], ids=["one tile", "six tiles"])
def tile(request, monkeypatch):
    """Tiles of at least so many rows: all rows in one, or in six."""
    monkeypatch.setattr(blocks, "_TILE", 1)
    monkeypatch.setattr(blocks, "_MIN_ROWS", request.param)


@pytest.mark.parametrize("n_prefixes", [1, 8, 32])
def test_saved_exponentials_take_no_more_than_thrice_the_candidates(batch, monkeypatch, n_prefixes):
    monkeypatch.setattr(blocks, "_SAVED_ENTRIES", 1)
    queries, documents = batch(100, 50, dim=32)
    dims = NestingDims.of(range(32 // n_prefixes, 33, 32 // n_prefixes), 32)
    targets = Targets.one_positive(torch.arange(100) % 50, queries)
    full = blocks._Batch.of(queries, documents, 20.0, dims, targets, True)
    tiles = [tile for _, tile in full.tiles(saves=True)]
    assert sum(len(tile.part.queries) for tile in tiles) == 100
    assert all(tile.exponentials.numel() <= 3 * documents.numel() for tile in tiles)
    assert len({tile.exponentials.data_ptr() for tile in tiles}) == 1  # all in the same memory


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_blocks_equal_the_reference_in_value_and_gradients(batch, tile, options):
    queries, documents, negatives = leaves = batch(40, 40, 15)
    results = [
        value_and_gradients(
            nested_info_nce(
                queries, documents, DIMS, negatives=negatives, method=method, **options
            ),
            *leaves,
        )
        for method in ("reference", "blocks")
    ]
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_a_learned_temperature_has_the_same_gradient(batch, tile):
    queries, documents = batch(40, 40)
    temperature = torch.tensor(0.07, dtype=torch.float64, requires_grad=True)
    slow, fast = (
        value_and_gradients(
            nested_info_nce(queries, documents, DIMS, temperature, method=method), temperature
        )
        for method in ("reference", "blocks")
    )
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("method", ["blocks", "reference"])
def test_the_value_is_the_same_without_gradients(batch, tile, method):
    queries, documents = batch(40, 40)
    with torch.enable_grad():
        expected = nested_info_nce(queries, documents, DIMS)
    result = nested_info_nce(queries, documents, DIMS, method=method)
    assert not result.requires_grad
    torch.testing.assert_close(result, expected.detach())


@pytest.mark.parametrize("method", ["blocks", "reference"])
def test_one_prefix_is_the_plain_loss_on_that_prefix(batch, method):
    queries, documents = leaves = batch(20, 20)
    plain = plain_info_nce(queries[:, :9], documents[:, :9])
    nested = nested_info_nce(queries, documents, [9], method=method)
    torch.testing.assert_close(
        value_and_gradients(nested, *leaves), value_and_gradients(plain, *leaves)
    )


@settings(max_examples=20, deadline=None)
@given(
    dims=st.lists(st.integers(1, 24), min_size=1, max_size=24, unique=True),
    seed=st.integers(0, 99),
)
def test_any_dims_in_any_order_are_the_sum_of_the_plain_losses(dims, seed):
    torch.manual_seed(seed)
    queries, documents = torch.randn(2, 10, 24, dtype=torch.float64)
    weights = [1.0 + i for i in range(len(dims))]
    nested = nested_info_nce(queries, documents, dims, weights=weights)
    plain = sum(
        weight * plain_info_nce(queries[:, :dim], documents[:, :dim])
        for dim, weight in zip(dims, weights, strict=True)
    )
    torch.testing.assert_close(nested, plain)


def test_every_prefix_adds_to_the_gradient(batch):
    queries, documents = batch(20, 20)
    dims = list(range(4, 25, 4))
    loss = nested_info_nce(queries, documents, dims)
    (gradient,) = torch.autograd.grad(loss, queries)
    assert all(gradient[:, dim - 4 : dim].abs().max() > 1e-6 for dim in dims)
    for dim in dims:
        fewer = nested_info_nce(queries, documents, [d for d in dims if d != dim])
        (without,) = torch.autograd.grad(fewer, queries)
        assert (gradient - without)[:, :dim].abs().max() > 1e-6


def test_dimensions_beyond_the_widest_prefix_have_no_gradient(batch):
    queries, documents = batch(20, 20)
    (gradient,) = torch.autograd.grad(nested_info_nce(queries, documents, [16, 8]), queries)
    assert gradient[:, :16].abs().min() > 0
    assert (gradient[:, 16:] == 0).all()


@pytest.mark.parametrize("cosine", [True, False])
def test_the_gradient_equals_finite_differences(batch, cosine):
    queries, documents, negatives = batch(4, 4, 2, dim=6)
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def loss(*inputs):
        *vectors, t = inputs
        return nested_info_nce(
            vectors[0], vectors[1], [2, 6, 3], t, negatives=vectors[2], cosine=cosine
        )

    assert torch.autograd.gradcheck(loss, (queries, documents, negatives, temperature))


def test_lengths_do_not_matter_to_cosines_and_do_to_inner_products(batch):
    queries, documents = batch(20, 20)
    for cosine in (True, False):
        once = nested_info_nce(queries, documents, DIMS, cosine=cosine)
        twice = nested_info_nce(queries, 2 * documents, DIMS, cosine=cosine)
        assert torch.isclose(once, twice) == cosine


def test_the_upstream_gradient_multiplies(batch):
    queries, documents = leaves = batch(20, 20)
    once = torch.autograd.grad(nested_info_nce(queries, documents, DIMS), leaves)
    thrice = torch.autograd.grad(3 * nested_info_nce(queries, documents, DIMS), leaves)
    torch.testing.assert_close(thrice, [3 * gradient for gradient in once])


def test_a_query_shares_its_loss_among_its_positives(batch):
    queries, documents = batch(4, 4)
    labels = torch.tensor([0, 0, 1, 2])
    logits = normalize(queries) @ normalize(documents).T / 0.05
    log_p = logits.log_softmax(1)
    of_query = [log_p[0, :2].mean(), log_p[1, :2].mean(), log_p[2, 2], log_p[3, 3]]
    nested = nested_info_nce(queries, documents, [24], labels=labels)
    torch.testing.assert_close(nested, -torch.stack(of_query).mean())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_labels_of_few_bits_make_no_positives_of_negatives(batch, dtype):
    queries, documents, negatives = batch(4, 4, 3)
    labels = torch.tensor([0, 0, 1, 2])
    expected = nested_info_nce(queries, documents, DIMS, negatives=negatives, labels=labels)
    result = nested_info_nce(queries, documents, DIMS, negatives=negatives, labels=labels.to(dtype))
    torch.testing.assert_close(result, expected)


def test_an_excluded_negative_is_as_if_it_were_absent(batch):
    queries, documents, negatives = batch(8, 8, 3)
    excluded = torch.zeros(8, 11, dtype=torch.bool)
    excluded[:, 9] = True
    nested = nested_info_nce(queries, documents, DIMS, negatives=negatives, excluded=excluded)
    without = nested_info_nce(queries, documents, DIMS, negatives=negatives[[0, 2]])
    torch.testing.assert_close(nested, without)


def test_the_margin_excludes_candidates_nearer_than_the_positive_at_full_width(batch):
    queries, documents = batch(8, 8)
    copies = queries.detach().clone()  # nearest of all, so no negatives
    both = nested_info_nce(queries, documents, DIMS, negatives=copies, margin=0.0)
    scores = normalize(queries) @ normalize(torch.cat([documents, copies])).T
    excluded = scores > scores.diagonal()[:, None]
    assert excluded[:, 8:].diagonal().all()
    by_hand = nested_info_nce(queries, documents, DIMS, negatives=copies, excluded=excluded)
    torch.testing.assert_close(both, by_hand)


def test_a_positive_is_never_excluded(batch):
    queries, documents = batch(8, 8)
    all_excluded = torch.ones(8, 8, dtype=torch.bool)
    nested = nested_info_nce(queries, documents, DIMS, excluded=all_excluded)
    torch.testing.assert_close(nested, torch.zeros_like(nested), atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", ["blocks", "reference"])
def test_a_prefix_of_zeros_gives_finite_gradients(batch, method):
    queries, documents = leaves = batch(8, 8)
    with torch.no_grad():
        queries[0, :4] = 0
    result = value_and_gradients(nested_info_nce(queries, documents, DIMS, method=method), *leaves)
    assert all(part.isfinite().all() for part in result)


def test_half_precision_is_computed_in_float32(batch):
    queries, documents = leaves = batch(20, 20, dtype=torch.bfloat16)
    result = value_and_gradients(nested_info_nce(queries, documents, DIMS), *leaves)
    wide = [leaf.detach().float().requires_grad_() for leaf in leaves]
    expected = value_and_gradients(nested_info_nce(*wide, DIMS), *wide)
    assert result[0].dtype == torch.float32
    assert result[1].dtype == torch.bfloat16
    torch.testing.assert_close(result[0], expected[0])
    torch.testing.assert_close(result[1], expected[1].bfloat16())


@pytest.mark.parametrize("method", ["blocks", "reference"])
def test_autocast_changes_nothing(batch, method):
    queries, documents = batch(20, 20, dtype=torch.float32)
    plain = nested_info_nce(queries, documents, DIMS, method=method, margin=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = nested_info_nce(queries, documents, DIMS, method=method, margin=0.0)
    assert cast == plain


def test_it_equals_the_loss_of_sentence_transformers():
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")

    class Identity(torch.nn.Module):
        """A model whose embeddings are its input."""

        def get_embedding_dimension(self):
            return 24

        def forward(self, features):
            return {"sentence_embedding": features["vectors"]}

    columns = [torch.randn(20, 24, requires_grad=True) for _ in range(3)]
    model = Identity()
    theirs = losses.MatryoshkaLoss(
        model, losses.MultipleNegativesRankingLoss(model, scale=20), DIMS, [1.0, 2.0, 3.0, 4.0]
    )([{"vectors": column} for column in columns], None)
    queries, documents, negatives = columns
    ours = nested_info_nce(
        queries, documents, DIMS, negatives=negatives, weights=[1.0, 2.0, 3.0, 4.0]
    )
    torch.testing.assert_close(
        value_and_gradients(ours, *columns), value_and_gradients(theirs, *columns)
    )


def test_memory_does_not_grow_with_queries_times_candidates(batch):
    sizes = []

    def saved(tensor):
        sizes.append(tensor.numel())
        return tensor

    queries, documents = batch(600, 600)
    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        nested_info_nce(queries, documents, DIMS)
    assert max(sizes) == 600 * 24


@pytest.mark.parametrize(
    ("dims", "wrong"), [([8, 8], "repeats"), ([25], "wider"), ([], "no width"), ([0], "below 1")]
)
def test_dims_that_do_not_fit_are_refused(batch, dims, wrong):
    with pytest.raises(DimsError, match=wrong):
        nested_info_nce(*batch(4, 4), dims)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"documents": torch.randn(5, 24)}, "4 queries but 5"),
        ({"documents": torch.randn(4, 23)}, "widths differ"),
        ({"documents": torch.randn(4, 24).double()}, "dtypes differ"),
        ({"documents": torch.randn(4, 24, device="meta")}, "devices differ"),
        ({"negatives": torch.zeros(3, 24, dtype=torch.int64)}, "floating point"),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_refused(change, wrong):
    inputs = {"queries": torch.randn(4, 24), "documents": torch.randn(4, 24), "dims": DIMS}
    with pytest.raises(VectorsError, match=wrong):
        nested_info_nce(**(inputs | change))


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": float("nan")}, "above 0"),
        ({"temperature": 1e-40}, "above 0"),
        ({"temperature": torch.ones(2)}, "one finite number"),
        ({"margin": float("nan")}, "finite"),
        ({"weights": [1.0]}, "4 prefixes"),
        ({"weights": [1.0, 1.0, 1.0, 0.0]}, "above 0"),
        ({"weights": "back"}, "front"),
        ({"labels": torch.arange(3)}, "one per row"),
        ({"labels": torch.arange(4.0)}, "whole numbers"),
        ({"labels": torch.arange(4, device="meta")}, "on meta"),
        ({"excluded": torch.ones(4, 3) > 2}, r"\[4, 4\]"),
        ({"excluded": torch.ones(4, 4)}, "true or false"),
        ({"excluded": torch.ones(4, 4, dtype=torch.bool, device="meta")}, "on meta"),
        ({"method": "magic"}, "unknown"),
        ({"gather": True, "bidirectional": True, "excluded": torch.ones(4, 4) > 2}, "bidirect"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, wrong):
    with pytest.raises(InputError, match=wrong):
        nested_info_nce(torch.randn(4, 24), torch.randn(4, 24), DIMS, **options)


def test_a_batch_of_one_pair_is_0_with_a_warning_unless_there_are_negatives(batch):
    queries, documents, negatives = batch(1, 1, 1)
    with pytest.warns(UserWarning, match="no negative"):
        assert nested_info_nce(queries, documents, DIMS) == 0
    assert nested_info_nce(queries, documents, DIMS, negatives=negatives) > 0
    with pytest.warns(UserWarning, match="queries alone"):
        nested_info_nce(queries, documents, DIMS, negatives=negatives, bidirectional=True)


def test_no_queries_are_refused(batch):
    with pytest.raises(InputError, match="no queries"):
        nested_info_nce(*batch(0, 0), DIMS, negatives=batch(3)[0])
