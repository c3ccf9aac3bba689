"""Copy the figures of the result files into the README, between its markers.

python benchmarks/readme.py [--check]
"""

import argparse
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MARKED = re.compile(r"(<!-- figures: benchmarks/readme.py -->\n).*?(<!-- end of figures -->)", re.S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the README is not up to date")
    options = parser.parse_args()
    before = README.read_text()
    after = MARKED.sub(lambda match: match[1] + figures() + match[2], before)
    if options.check and before != after:
        sys.exit("README.md is not up to date with benchmarks/results; run benchmarks/readme.py")
    README.write_text(after)


def figures() -> str:
    """The table and the sentences under it."""
    search = json.loads((HERE / "results/search.json").read_text())
    memory = json.loads((HERE / "results/memory.json").read_text())
    summary = search["summary"]
    by_name = {row["engine"]: row for row in search["search"]}
    graph = max(
        (row for name, row in by_name.items() if "HNSW" in name),
        key=lambda row: (
            row["recall_at_10"] >= summary["recall_at_10"] - 1e-3,
            row["queries_per_s"],
        ),
    )
    shown = [
        ("nestvec, default plan", by_name["nestvec (default plan)"], "nestvec"),
        (summary["rabitq"]["engine"], by_name[summary["rabitq"]["engine"]], None),
        (graph["engine"], graph, "FAISS HNSW32 (efC 200)"),
        ("FAISS Flat", by_name["FAISS Flat"], "FAISS Flat"),
    ]
    lines = [
        "| engine | recall@10 | queries/s, one by one | queries/s, in a batch | build, s |",
        "|---|---|---|---|---|",
    ]
    for label, row, build in shown:
        build = build or label.partition(",")[0] + "," + label.split(",")[1]
        lines.append(
            f"| {label} | {row['recall_at_10']:.3f} | {row['queries_per_s']:,.0f} "
            f"| {row['batch_queries_per_s']:,.0f} | {search['build'][build]['seconds']:,.1f} |"
        )
    return "\n".join([*lines, "", " ".join(notes(search, memory)), ""])


def notes(search: dict, memory: dict) -> list[str]:
    """What was measured, on what, and the figures that no table holds."""
    summary, data, machine = search["summary"], search["data"], search["machine"]
    largest = memory["builds"][-1]
    return [
        f"{data['rows']:,} sentences of arXiv abstracts × {data['dim']} dims (MiniLM, not trained",
        f"nested), {data['queries']:,} held-out queries, 1 thread ({machine['cpu']}), medians of",
        "interleaved rounds, recall by id against float64 brute force; builds on",
        f"{machine['cores']} cores. {summary['hot_bytes_per_row']:.0f} bytes per row are hot,",
        f"{summary['share_of_float_bytes']:.1%} of float32. A new process answers its first query",
        f"after {summary['first_answer_warm_s']:.2f} s, or {summary['first_answer_cold_s']:.1f} s",
        "when the kernels must be compiled.",
        f"Building {largest['vector_mb'] / 1e3:.1f} GB of vectors from a memory map took",
        f"{largest['peak_mb']:.0f} MB of memory.",
    ]


if __name__ == "__main__":
    main()
