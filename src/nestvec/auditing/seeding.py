"""Random generators of an audit, one for each name."""

import zlib

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """Make the random generator of a name, so that no figure depends on what else is audited."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
