"""`nestvec warmup`: the kernels of this processor, compiled before they are needed."""

import time

from nestvec import kernels
from nestvec.cli.output import print_facts


def warmup() -> None:
    """Compile the kernels of index, search and audit for this processor, and cache them.

    Without it, the first command that needs a kernel does so. In a container image, run it in the
    build; NUMBA_CACHE_DIR names the folder of the cache.

    Examples:
      nestvec warmup
    """
    start = time.perf_counter()
    for load in (kernels.load, kernels.load_exact, kernels.load_scoring):
        load()
    print_facts({"kernels": "ready", "time": f"{time.perf_counter() - start:,.1f} s"})
