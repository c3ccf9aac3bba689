"""What the result files say together: nestvec against the best peers, growth with rows, threads.

    python -m benchmarks.search.report [--write]

Reads `results/search/*.json` and `results/exact/*.json`; writes `results/summary.json`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.search.curve import exponent

RESULTS = Path(__file__).parents[1] / "results"
_GROWTH = "arxiv-sentences-"
_FEWEST_SIZES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write results/summary.json too")
    chosen = parser.parse_args()
    text = json.dumps(report(read("search"), read("exact")), indent=1)
    print(text)
    if chosen.write:
        (RESULTS / "summary.json").write_text(text + "\n")


def read(folder: str) -> list[dict[str, Any]]:
    """The result files of a folder, smallest data first."""
    found = [json.loads(path.read_text()) for path in (RESULTS / folder).glob("*.json")]
    return sorted(found, key=lambda result: (result["data"]["rows"], result["data"]["name"]))


def report(searches: list[dict[str, Any]], exact: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry per data set, and what only several together can say."""
    return {
        "sets": {result["data"]["name"]: of_one(result) for result in searches},
        "growth": {
            k: growth([r for r in searches if r["data"]["name"].startswith(_GROWTH)], k)
            for k in ("10", "100")
        },
        "exact": {result["data"]["name"]: result["summary"] for result in exact},
    }


def of_one(result: dict[str, Any]) -> dict[str, Any]:
    """Speed at the recalls asked for, the build against the best graph's, bytes against float32."""
    return {
        "searches": {
            k: {
                recall: {"nestvec": at["queries_per_s"].get("nestvec"), **best(at)}
                for recall, at in recalls.items()
            }
            for k, recalls in result["summary"].items()
        },
        **build_and_bytes(result),
        "batches": {
            k: {recall: batched(at) for recall, at in found.items()}
            for k, found in result.get("batches", {}).items()
        },
        "two_threads": {
            k: two_threads(found["0.95"]) for k, found in result.get("batches", {}).items()
        },
    }


def best(at: dict[str, Any]) -> dict[str, Any]:
    """The best peer, its speed, and how many times as fast nestvec is."""
    if "best_peer" not in at:
        return {}
    name = at["best_peer"]
    return {"best_peer": name, name: at["queries_per_s"][name], "times": at["times_best_peer"]}


def batched(at: dict[str, Any]) -> dict[str, Any]:
    """Queries/s of one batch on one thread: nestvec, the best peer, and how many times as fast."""
    speeds = {name: one["queries_per_s"]["1"] for name, one in at.items()}
    ours = speeds.pop("nestvec", None)
    if not speeds:
        return {"nestvec": ours}
    name = max(speeds, key=lambda peer: speeds[peer])
    times = ours and round(ours / speeds[name], 2)
    return {"nestvec": ours, "best_peer": name, name: speeds[name], "times": times}


def build_and_bytes(result: dict[str, Any]) -> dict[str, Any]:
    """nestvec's build against that of the graph that is fastest at .95, and its hot bytes."""
    engines = {name: e for name, e in result["engines"].items() if "failed" not in e}
    if "nestvec" not in engines:
        return {}
    ours, floats = engines["nestvec"], result["data"]["rows"] * result["data"]["dim"] * 4
    speeds = result["summary"]["10"]["0.95"]["queries_per_s"] if "10" in result["summary"] else {}
    graphs = [name for name, e in engines.items() if e["kind"] == "graph" and speeds.get(name)]
    said: dict[str, Any] = {
        "hot_bytes_per_row": round(ours["hot_bytes"] / result["data"]["rows"], 1),
        "hot_share_of_float32": round(ours["hot_bytes"] / floats, 4),
        "build_s": ours["build"]["seconds"],
        "build_peak_bytes": ours["build"]["peak_bytes"],
    }
    if graphs:
        graph = engines[max(graphs, key=lambda name: speeds[name])]
        said |= {
            "best_graph": graph["title"],
            "best_graph_build_s": graph["build"]["seconds"],
            "times_build_of_best_graph": round(
                graph["build"]["seconds"] / ours["build"]["seconds"], 1
            ),
        }
    return said


def growth(results: list[dict[str, Any]], k: str) -> dict[str, Any]:
    """Per recall and engine, the slope of log time over log rows, from three sizes on."""
    slopes: dict[str, Any] = {}
    for recall in ("0.95", "0.99"):
        speeds: dict[str, list[tuple[int, float]]] = {}
        for result in results:
            at = result["summary"].get(k, {}).get(recall, {"queries_per_s": {}})
            for name, speed in at["queries_per_s"].items():
                if speed:
                    speeds.setdefault(name, []).append((result["data"]["rows"], speed))
        slopes[recall] = {
            name: {
                "rows": [rows for rows, _ in found],
                "exponent": round(exponent(*map(list, zip(*found, strict=True))), 3),
            }
            for name, found in speeds.items()
            if len(found) >= _FEWEST_SIZES
        }
    return slopes


def two_threads(found: dict[str, Any]) -> dict[str, float]:
    """How many times as many queries/s a batch gets from two threads as from one."""
    return {
        name: round(one["queries_per_s"]["2"] / one["queries_per_s"]["1"], 2)
        for name, one in found.items()
    }


if __name__ == "__main__":
    main()
