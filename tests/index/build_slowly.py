"""Builds an index and waits after its first rows, to be killed there: `build_slowly.py PATH`."""

import sys
import time
from contextlib import contextmanager

import numpy as np

from nestvec import Index


@contextmanager
def waiting(description, total):
    def advance(count):
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        time.sleep(600)

    yield advance


if __name__ == "__main__":
    Index.build(np.ones((10, 4), np.float32), sys.argv[1], progress=waiting)
