"""`nestvec warmup`: the kernels of this processor, compiled before they are needed."""

import time

from nestvec import kernels
from nestvec.cli import options
from nestvec.cli.output import print_facts, print_json


def warmup(json: options.Json = False) -> None:
    """Compile the kernels of index, search and audit for this processor, and cache them.

    Without it, the first command that needs a kernel does so. In a container image, run it in the
    build; NUMBA_CACHE_DIR names the folder of the cache.

    Examples:
      nestvec warmup
    """
    start = time.perf_counter()
    for load in (kernels.load, kernels.load_exact, kernels.load_scoring):
        load()
    duration_s = time.perf_counter() - start
    if json:
        print_json({"ready": True, "duration_s": round(duration_s, 3)})
    else:
        print_facts({"kernels": "ready", "time": f"{duration_s:,.1f} s"})
