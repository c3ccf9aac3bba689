"""Make the golden index of hnswlib: `make_hnswlib.py FILE`, with hnswlib 0.8.0 installed.

`hnswlib_index.hnsw` was made by this script on x86-64 Linux. hnswlib is built from source, which
needs a C++ compiler, so tests read this file and do not need hnswlib.
"""

import sys

import numpy as np

ROWS = (np.arange(60, dtype=np.float32).reshape(12, 5) % 7) - 3
LABELS = np.arange(12) * 11 + 100

if __name__ == "__main__":
    import hnswlib

    index = hnswlib.Index(space="l2", dim=5)
    index.init_index(max_elements=40, M=6, ef_construction=50, random_seed=7)
    index.add_items(ROWS, LABELS, num_threads=1)
    index.mark_deleted(122)
    index.save_index(sys.argv[1])
