"""Hard negatives are near at the prefix, and no right answers."""

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
def test_they_are_the_nearest_at_the_prefix_of_those_full_width_ranks_below(rows, dims):
    queries, documents, own = rows
    found = mine_hard_negatives(queries, documents, own, dims, 3)
    full = normalize(queries) @ normalize(documents).T
    short = normalize(queries[:, :dims]) @ normalize(documents[:, :dims]).T
    for row, mined in enumerate(found.tolist()):
        allowed = [d for d in range(40) if d != row and full[row, d] <= full[row, row]]
        best = sorted(allowed, key=lambda d: -short[row, d])
        assert mined == best[:3]


def test_the_margin_lets_in_what_full_width_prefers_a_little(rows):
    queries, documents, own = rows
    documents = documents.clone()
    documents[30] = queries[0]  # better than its own, and not labelled
    assert 30 not in mine_hard_negatives(queries, documents, own, 8, 40)[0]
    assert mine_hard_negatives(queries, documents, own, 8, 1, margin=1.0)[0].tolist() == [30]


def test_where_too_few_are_left_there_is_none():
    rows = torch.eye(3)
    found = mine_hard_negatives(rows, rows, torch.arange(3), 3, 5)
    assert [sorted(row) for row in found.tolist()] == [
        [-1, -1, -1, 1, 2],
        [-1, -1, -1, 0, 2],
        [-1, -1, -1, 0, 1],
    ]


def test_a_prefix_wider_than_the_rows_is_refused(rows):
    with pytest.raises(DimsError, match="17"):
        mine_hard_negatives(*rows, 17, 1)
