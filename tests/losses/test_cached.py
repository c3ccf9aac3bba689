"""Encoding in mini-batches: the same loss and gradients, activations of one at a time."""

import weakref

import pytest
import torch

from nestvec.errors import InputError
from nestvec.losses import cached_encode, nested_info_nce


@pytest.fixture
def model():
    return torch.nn.Sequential(
        torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Dropout(0.3), torch.nn.Linear(32, 16)
    )


def step(model, encode, temperature):
    torch.manual_seed(3)
    queries, documents = torch.randn(2, 12, 6)
    loss = nested_info_nce(encode(queries), encode(documents), [16, 4, 8], temperature)
    loss.backward()
    gradients = [p.grad.clone() for p in (*model.parameters(), temperature)]
    model.zero_grad()
    temperature.grad = None
    return loss.detach(), gradients


def test_value_and_gradients_equal_those_of_encoding_the_whole_batch(model):
    temperature = torch.tensor(0.1, requires_grad=True)
    model.eval()
    torch.testing.assert_close(
        step(model, lambda rows: cached_encode(model, rows.split(5)), temperature),
        step(model, model, temperature),
    )


def test_dropout_is_the_same_both_times(model):
    temperature = torch.tensor(0.1, requires_grad=True)
    torch.testing.assert_close(
        step(model, lambda rows: cached_encode(model, rows.split(5)), temperature),
        step(model, lambda rows: torch.cat([model(r) for r in rows.split(5)]), temperature),
    )


def test_the_activations_of_one_mini_batch_are_in_memory_at_a_time(model):
    alive, counts = weakref.WeakSet(), []

    def encode(rows):
        hidden = model[:3](rows)
        alive.add(hidden)
        counts.append(len(alive))
        return model[3](hidden)

    cached_encode(encode, torch.randn(20, 6).split(4)).square().sum().backward()
    assert (len(counts), max(counts)) == (10, 1)


def test_nothing_to_encode_is_refused(model):
    with pytest.raises(InputError, match="no mini-batches"):
        cached_encode(model, [])


def test_the_old_name_of_mini_batches_works(model):
    rows = torch.randn(4, 6)
    model.eval()
    with pytest.warns(DeprecationWarning, match="pieces= is now called mini_batches="):
        encoded = cached_encode(model, pieces=rows.split(2))
    torch.testing.assert_close(encoded, model(rows))
