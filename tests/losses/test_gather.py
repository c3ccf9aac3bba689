"""Two processes: each sees all documents, and gradients find their way home."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nestvec.errors import InputError
from nestvec.losses import gather, nested_info_nce

DIMS = [8, 2, 5]
OPTIONS = {
    "plain": {},
    "bidirectional": {"bidirectional": True},
    "labels": {"labels": torch.tensor([0, 1, 0, 2, 1, 0])},
}


def vectors():
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(3, 6, 8, generator=generator, dtype=torch.float64))


def work(rank, port, folder):
    """What process `rank` of two does: its half of the batch."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    half = slice(3 * rank, 3 * rank + 3)
    told = {}
    for name, options in OPTIONS.items():
        queries, documents, negatives = leaves = [v[half].requires_grad_() for v in vectors()]
        own = {"labels": options["labels"][half]} if "labels" in options else options
        loss = nested_info_nce(queries, documents, DIMS, negatives=negatives, gather=True, **own)
        told[name] = [loss.detach(), *torch.autograd.grad(loss, leaves)]
    queries, documents, _ = (v[rank : rank + 1] for v in vectors())
    told["one each"] = nested_info_nce(queries, documents, DIMS, gather=True)
    try:
        gather(torch.zeros(2 + rank, 4))
    except InputError as e:
        told["uneven"] = str(e)
    torch.save(told, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gather")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", OPTIONS)
def test_two_halves_are_the_whole_batch(told, name):
    queries, documents, negatives = leaves = [v.requires_grad_() for v in vectors()]
    whole = nested_info_nce(queries, documents, DIMS, negatives=negatives, **OPTIONS[name])
    # As data-parallel training averages over processes.
    torch.testing.assert_close((told[0][name][0] + told[1][name][0]) / 2, whole.detach())
    for place, expected in enumerate(torch.autograd.grad(whole, leaves), 1):
        halves = torch.cat([told[rank][name][place] for rank in range(2)]) / 2
        torch.testing.assert_close(halves, expected)


def test_a_batch_of_one_pair_has_the_other_process_s_document_to_tell_it_from(told):
    queries, documents, _ = (v[:2] for v in vectors())
    whole = nested_info_nce(queries, documents, DIMS)
    torch.testing.assert_close((told[0]["one each"] + told[1]["one each"]) / 2, whole)


def test_uneven_batches_are_refused_in_every_process(told):
    assert all("batches of 2 to 3 rows" in of_rank["uneven"] for of_rank in told)


def test_a_single_process_has_its_own_rows():
    rows = torch.randn(3, 4)
    assert gather(rows) is rows
