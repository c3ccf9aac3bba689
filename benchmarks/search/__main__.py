"""Recall and speed of nestvec and its peers on one or more data sets.

    python -m benchmarks.search --quick      # some minutes: 50,000 rows, fewer settings and rounds
    python -m benchmarks.search --dataset arxiv-sentences-200000 --engines nestvec svs-f16
    python -m benchmarks.search --rebuild    # builds anew all that was kept, for quiet build times

Prints a table; writes `benchmarks/results/search/<dataset>.json` and a picture beside it.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.search import catalog
from benchmarks.search.chart import draw
from benchmarks.search.engines import ENGINES
from benchmarks.search.measure import Effort
from benchmarks.search.run import Options, run, save, table

QUICK = Effort(rounds=3, seconds=0.3)
QUICK_ENGINES = ("nestvec", "faiss-flat", "faiss-rabitq", "faiss-hnsw", "hnswlib", "svs-f16")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=catalog.__doc__,
    )  # fmt: skip
    parser.add_argument("--dataset", nargs="+", help="names as below")
    parser.add_argument("--engines", nargs="+", help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--k", type=int, nargs="+", help="10 and 100; the quick run 10")
    parser.add_argument("--rounds", type=int, help="5; the quick run 3")
    parser.add_argument("--quick", action="store_true", help="the subset that takes some minutes")
    parser.add_argument("--rebuild", action="store_true", help="build anew what has been kept")
    parser.add_argument("--out", type=Path, help="write the result here, and draw nothing")
    chosen = parser.parse_args()
    options = options_of(chosen)
    default = "arxiv-sentences-50000" if chosen.quick else "arxiv-sentences-200000"
    for name in chosen.dataset or [default]:
        result = run(catalog.load(name), options, say)
        for k in options.ks:
            print(table(result, k), flush=True)
        if chosen.out:
            chosen.out.write_text(json.dumps(result, indent=1) + "\n")
        else:
            path = save(result)
            for k in options.ks:
                draw(result, k, path.with_suffix(f".k{k}.png"))
            say(f"written to {path}")


def options_of(chosen: argparse.Namespace) -> Options:
    """The quick run's values or the full run's, where none is given."""
    effort = QUICK if chosen.quick else Effort()
    if chosen.rounds:
        effort = replace(effort, rounds=chosen.rounds)
    return Options(
        engines=tuple(chosen.engines or (QUICK_ENGINES if chosen.quick else ENGINES)),
        ks=tuple(chosen.k or ((10,) if chosen.quick else (10, 100))),
        effort=effort,
        rebuild=chosen.rebuild,
        every=2 if chosen.quick else 1,
        batches=not chosen.quick,
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
