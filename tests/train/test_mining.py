"""Hard negatives are near at the prefix, and are no likely positives."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import normalize  # noqa: E402

from nestvec.errors import DimsError  # noqa: E402
from nestvec.train.data.mining import mine_hard_negatives  # noqa: E402


@pytest.fixture
def rows():
    torch.manual_seed(0)
    queries, documents = torch.randn(30, 16), torch.randn(40, 16)
    documents[:30] += 2 * queries
    return queries, documents, torch.arange(30)


@pytest.mark.parametrize("dims", [4, 16])
def test_they_are_the_nearest_at_the_prefix_of_those_below_the_positive_at_full_width(rows, dims):
    queries, documents, positives = rows
    negatives = mine_hard_negatives(queries, documents, positives, dims, 3)
    full = normalize(queries) @ normalize(documents).T
    short = normalize(queries[:, :dims]) @ normalize(documents[:, :dims]).T
    for row, mined in enumerate(negatives.tolist()):
        allowed = [d for d in range(40) if d != row and full[row, d] <= full[row, row]]
        best = sorted(allowed, key=lambda d: -short[row, d])
        assert mined == best[:3]


def test_the_margin_admits_documents_that_full_width_prefers_a_little(rows):
    queries, documents, positives = rows
    documents = documents.clone()
    documents[30] = queries[0]  # better than the positive, and not labelled
    assert 30 not in mine_hard_negatives(queries, documents, positives, 8, 40)[0]
    assert mine_hard_negatives(queries, documents, positives, 8, 1, margin=1.0)[0].tolist() == [30]


def test_minus_1_stands_where_too_few_documents_remain():
    rows = torch.eye(3)
    negatives = mine_hard_negatives(rows, rows, torch.arange(3), 3, 5)
    assert [sorted(row) for row in negatives.tolist()] == [
        [-1, -1, -1, 1, 2],
        [-1, -1, -1, 0, 2],
        [-1, -1, -1, 0, 1],
    ]


def test_a_prefix_wider_than_the_rows_is_refused(rows):
    with pytest.raises(DimsError, match="17"):
        mine_hard_negatives(*rows, 17, 1)
