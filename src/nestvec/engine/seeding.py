"""Randomness as a function of a seed and a place, so that no state of a generator has to be saved.

The row order of epoch 3, the dropout of step 40 and the crops of its second batch each have a
place. A run that resumes at step 40 draws the numbers that it would have drawn without a stop,
whatever was evaluated in between.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SeedKey = str | int
"""One part of a place: a seed, a word such as "order", or the number of an epoch or a step.

The words are part of every figure: another word is another seed.
"""


def derive_seed(*key: SeedKey) -> int:
    """Hash a place to a whole number in 0..2⁶³−1; the same place gives the same number."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*key: SeedKey) -> torch.Generator:
    """Make the CPU generator of a place."""
    return torch.Generator().manual_seed(derive_seed(*key))


@contextmanager
def preserve_global_rng(device: torch.device) -> Iterator[None]:
    """Restore torch's global random state at the end, because it belongs to the caller."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def seeded_global_rng(*key: SeedKey) -> Iterator[None]:
    """Seed torch's global random state on the CPU with a place, and restore it at the end.

    For layers, which draw their initial parameters from no other generator.
    """
    with preserve_global_rng(torch.device("cpu")):
        torch.manual_seed(derive_seed(*key))
        yield
