"""Checks of ids before anything is encoded: one look at the catalog, however many ids there are."""

import numpy as np
import pytest

from nestvec import Index
from nestvec.collections.checks import check_new, check_present
from nestvec.errors import IdsError
from nestvec.index.storage import catalog


@pytest.fixture
def index(tmp_path):
    return Index.build(
        np.eye(8, dtype=np.float32), tmp_path / "i.nv", ids=[f"r{i}" for i in range(8)]
    )


def test_ids_are_named_up_to_five(index):
    check_new(index, ["new", "other"])
    check_present(index, ["r0", "r7"])
    with pytest.raises(IdsError, match=r"id 'r3' is in .* already"):
        check_new(index, ["new", "r3"])
    with pytest.raises(IdsError, match=r"ids 'r0', .*'r4' and 3 more are in"):
        check_new(index, [f"r{i}" for i in range(8)])
    with pytest.raises(IdsError, match=r"ids 'a', 'b' are not in"):
        check_present(index, ["a", "r1", "b"])


@pytest.mark.parametrize("check", [check_new, check_present])
def test_many_ids_take_one_look_at_the_catalog(index, monkeypatch, check):
    looks = []
    read = catalog.read_manifest
    monkeypatch.setattr(catalog, "read_manifest", lambda *a: looks.append(a) or read(*a))
    ids = [f"x{i}" for i in range(500)] if check is check_new else [f"r{i}" for i in range(8)]
    check(index, ids)
    assert len(looks) <= 1
