"""A program for `test_writer.py` to kill: `python write_slowly.py TARGET PAUSE_S`.

It encodes `TEXTS` in chunks of 4, with `PAUSE_S` before each, and writes how many it encoded.
"""

import hashlib
import sys
import time
from pathlib import Path

import numpy as np

from nestvec.encode import ModelInfo, encode_to_file

TEXTS = [f"text {i}" for i in range(40)]


class SlowEncoder:
    """Rows drawn from a hash of each text: the same in every process."""

    info = ModelInfo("hash", "1", 5)

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s
        self.encoded = 0

    def encode(self, items, progress=None):
        time.sleep(self.pause_s)
        self.encoded += len(items)
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "little") for t in items]
        rows = np.stack([np.random.default_rng(seed).standard_normal(5) for seed in seeds])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    encoder = SlowEncoder(float(sys.argv[2]))
    encode_to_file(encoder, TEXTS, Path(sys.argv[1]), chunk_rows=4)
    sys.stdout.write(str(encoder.encoded))
