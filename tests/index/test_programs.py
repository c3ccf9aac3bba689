"""An index in larger programs: other processes, copies, threads of an event loop, data loaders."""

import asyncio
import copy
import multiprocessing

import numpy as np
import pytest

from nestvec import Index

K = 3


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    rows = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    return Index.build(rows, tmp_path_factory.mktemp("programs") / "i.nv")


def found(index, row):
    """Row numbers of the best rows for a stored row."""
    return index.search(index.vectors[row : row + 1], K).rows.tolist()


@pytest.mark.door("an index passed to a new process", "opened there by its path")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_index_is_passed_to_new_processes(small, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        answers = pool.starmap(found, [(small, row) for row in range(3)])
    assert answers == [found(small, row) for row in range(3)]


def test_a_copy_searches_the_same_rows(small):
    assert found(copy.deepcopy(small), 5) == found(small, 5)


@pytest.mark.door("searches in an event loop", "run by asyncio.to_thread")
def test_searches_of_an_event_loop_run_in_threads(small):
    async def search_all():
        searches = (asyncio.to_thread(found, small, row) for row in range(8))
        return await asyncio.gather(*searches)

    assert asyncio.run(search_all()) == [found(small, row) for row in range(8)]


class Neighbours:
    """A data set whose items are searched for by the workers of a data loader."""

    def __init__(self, index):
        self.index = index

    def __len__(self):
        return 4

    def __getitem__(self, row):
        return found(self.index, row)


def test_workers_of_a_data_loader_search(small):
    data = pytest.importorskip("torch.utils.data")
    loader = data.DataLoader(
        Neighbours(small), num_workers=1, multiprocessing_context="forkserver", collate_fn=list
    )
    assert list(loader) == [[found(small, row)] for row in range(4)]
