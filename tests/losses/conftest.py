"""Random batches for losses."""

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20220526)


@pytest.fixture
def batch():
    """Make some leaves [rows, dim] in float64, where laws hold to the last digits."""

    def make(*rows, dim=24, dtype=torch.float64):
        return [torch.randn(n, dim, dtype=dtype, requires_grad=True) for n in rows]

    return make
