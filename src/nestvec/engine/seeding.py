"""Randomness as a function of a seed and a place, so that nothing random has to be remembered.

The order of epoch 3, the dropout of step 40 and the crops of its second batch each have a place.
Whoever resumes at step 40 draws what would have been drawn, whatever was evaluated in between.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

Place = str | int


def seed_of(*place: Place) -> int:
    """A number in 0..2⁶³−1 that looks drawn at random, the same for the same place."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*place: Place) -> torch.Generator:
    """A generator of its own for a place; it draws on the CPU."""
    return torch.Generator().manual_seed(seed_of(*place))


@contextmanager
def kept_aside(device: torch.device) -> Iterator[None]:
    """Give torch's global state back as it was: layers draw from it, and it is the caller's."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def seeded(*place: Place) -> Iterator[None]:
    """Let layers that draw from torch's global state, on the CPU, draw what belongs to a place."""
    with kept_aside(torch.device("cpu")):
        torch.manual_seed(seed_of(*place))
        yield
