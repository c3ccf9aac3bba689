"""Two processes: each sees all documents, and gradients flow back to the process of a row."""

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

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


UNEVEN = [slice(0, 4), slice(4, 6)]
"""The pairs of each process, where batches differ."""
UNEVEN_NEGATIVES = [slice(0, 0), slice(0, 6)]
"""Its negatives: one process found none in its batch."""


def no_queries_in_process_1(rank):
    nested_info_nce(torch.zeros(2 - 2 * rank, 4), torch.zeros(2 - 2 * rank, 4), [4], gather=True)


REFUSED = {
    "width of their rows": lambda rank: gather(torch.zeros(2, 4 + rank)),
    "dtype of their rows": lambda rank: gather(torch.zeros(2, 4).to([torch.half, torch.int][rank])),
    "need of a gradient": lambda rank: gather(torch.zeros(2, 4, requires_grad=rank == 1)),
    "no queries in process 1": no_queries_in_process_1,
}


def work(rank, port, folder):
    """Compute the losses of one part of the batch in process `rank` of two."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    half = slice(3 * rank, 3 * rank + 3)
    results = {}
    for name, options in OPTIONS.items():
        queries, documents, negatives = leaves = [v[half].requires_grad_() for v in vectors()]
        local = {"labels": options["labels"][half]} if "labels" in options else options
        loss = nested_info_nce(queries, documents, DIMS, negatives=negatives, gather=True, **local)
        results[name] = [loss.detach(), *torch.autograd.grad(loss, leaves)]
    queries, documents, _ = (v[rank : rank + 1] for v in vectors())
    results["one each"] = nested_info_nce(queries, documents, DIMS, gather=True)
    results["ddp"] = ddp_step(half, half)
    for name, options in OPTIONS.items():
        results[f"uneven {name}"] = ddp_step(UNEVEN[rank], UNEVEN_NEGATIVES[rank], **options)
    results["ranks"] = gather(torch.full((2 * rank, 3), float(rank)))
    results["refused"] = {name: refusal(call, rank) for name, call in REFUSED.items()}
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def ddp_step(pairs, negative_rows, wrap=DistributedDataParallel, **options):
    """Compute the loss of a part of the batch and the gradient of a model's weights."""
    torch.manual_seed(0)
    model = wrap(torch.nn.Linear(8, 8, dtype=torch.float64))
    queries, documents, negatives = vectors()
    parts = [queries[pairs], documents[pairs], negatives[negative_rows]]
    queries, documents, negatives = model(torch.cat(parts)).split([len(part) for part in parts])
    if "labels" in options:
        options["labels"] = options["labels"][pairs]
    loss = nested_info_nce(queries, documents, DIMS, negatives=negatives, gather=True, **options)
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in model.parameters())]


def refusal(call, rank):
    """Give the message of the error that a call raises in this process."""
    try:
        call(rank)
    except InputError as e:
        return str(e)
    return "nothing was raised"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gather")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])  # where processes import this file from
        mp.spawn(work, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", OPTIONS)
def test_two_halves_equal_the_full_batch(results, name):
    queries, documents, negatives = leaves = [v.requires_grad_() for v in vectors()]
    full = nested_info_nce(queries, documents, DIMS, negatives=negatives, **OPTIONS[name])
    # As data-parallel training averages over processes.
    torch.testing.assert_close((results[0][name][0] + results[1][name][0]) / 2, full.detach())
    for position, expected in enumerate(torch.autograd.grad(full, leaves), 1):
        halves = torch.cat([results[rank][name][position] for rank in range(2)]) / 2
        torch.testing.assert_close(halves, expected)


def check_one_process(step, both):
    """Compare the mean over two processes with the loss and the gradient of one."""
    loss, *gradients = step
    torch.testing.assert_close((both[0][0] + both[1][0]) / 2, loss)
    for position, expected in enumerate(gradients, 1):
        for result in both:
            torch.testing.assert_close(result[position], expected)


@pytest.mark.door("two processes of DistributedDataParallel", "loss and gradient of one process")
def test_data_parallel_training_equals_one_process(results):
    step = ddp_step(slice(None), slice(None), wrap=lambda model: model)
    check_one_process(step, [result["ddp"] for result in results])


@pytest.mark.door(
    "processes with different numbers of rows", "loss and gradient of one process with all rows"
)
@pytest.mark.parametrize("name", OPTIONS)
def test_uneven_batches_equal_one_process(results, name):
    step = ddp_step(slice(None), slice(None), wrap=lambda model: model, **OPTIONS[name])
    check_one_process(step, [result[f"uneven {name}"] for result in results])


def test_a_process_without_rows_gathers_those_of_others(results):
    for result in results:
        assert result["ranks"].tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("name", REFUSED)
def test_what_processes_cannot_differ_in_is_refused_in_each(results, name):
    for result in results:
        assert name in result["refused"][name]


def test_a_batch_of_one_pair_has_the_document_of_the_other_process_as_a_negative(results):
    queries, documents, _ = (v[:2] for v in vectors())
    full = nested_info_nce(queries, documents, DIMS)
    torch.testing.assert_close((results[0]["one each"] + results[1]["one each"]) / 2, full)


def test_a_single_process_gathers_its_own_rows():
    rows = torch.randn(3, 4)
    assert gather(rows) is rows
