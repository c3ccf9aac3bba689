"""One data set from start to result file: build, find recall, time, sum up."""

import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.search.build import Built, built, place
from benchmarks.search.curve import front, points, speed_at
from benchmarks.search.dataset import Dataset, exact_truth
from benchmarks.search.engines import engine
from benchmarks.search.engines.base import Opened, Setting, folder_bytes
from benchmarks.search.measure import Effort, Measured, measure, time_batches

RESULTS = Path(__file__).parents[1] / "results" / "search"
RECALLS = (0.9, 0.95, 0.99)
BATCHED = (0.95, 0.99)


@dataclass(frozen=True)
class Options:
    """What to run, and for how long."""

    engines: tuple[str, ...]
    ks: tuple[int, ...] = (10, 100)
    effort: Effort = field(default_factory=Effort)
    build_threads: int = os.cpu_count() or 1
    rebuild: bool = False
    every: int = 1
    """Only every so many-th setting of each engine's grid; the default is always among them."""
    batches: bool = True


def run(data: Dataset, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything that is measured on one data set."""
    builds = build_all(data, options, say)
    opened = {
        name: engine(name).open(data, place(data, name))
        for name, build in builds.items()
        if build.failed is None
    }
    truth = exact_truth(data)
    result: dict[str, Any] = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["python -m benchmarks.search", *sys.argv[1:]]),
        "machine": machine(options.engines),
        "data": about(data),
        "effort": asdict(options.effort),
        "engines": {name: engine_record(data, name, builds[name], opened) for name in builds},
        "searches": {},
        "summary": {},
    }
    with threadpool_limits(1):
        for k in options.ks:
            settings = {name: thinned(index.settings(k), options) for name, index in opened.items()}
            found = measure(settings, data, truth, k, options.effort, say)
            result["searches"][str(k)] = [one.as_json() for one in found]
            result["summary"][str(k)] = summary(result, k)
            if options.batches:
                say(f"batches of k = {k}")
                result.setdefault("batches", {})[str(k)] = batches(found, data, options)
    return result


def build_all(data: Dataset, options: Options, say: Callable[[str], None]) -> dict[str, Built]:
    """Build, or find built, every engine that takes the data."""
    builds = {}
    for name in options.engines:
        reason = missing(name) or engine(name).refuses(data)
        if reason:
            builds[name] = Built("", options.build_threads, failed=reason)
        else:
            builds[name] = built(data, name, options.build_threads, options.rebuild)
        record = builds[name]
        say(
            f"{name}: {record.failed}"
            if record.failed
            else f"{name}: built in {record.seconds} s{' (kept)' if record.from_cache else ''}"
        )
    return builds


def engine_record(
    data: Dataset, name: str, build: Built, opened: dict[str, Opened]
) -> dict[str, Any]:
    """What an engine is, how it was built and what it holds."""
    if build.failed is not None:
        return {"failed": build.failed}
    return {
        "title": engine(name).title,
        "kind": engine(name).kind,
        "build": {name: value for name, value in asdict(build).items() if name != "key"},
        "hot_bytes": opened[name].hot_bytes,
        "held_bytes": opened[name].held_bytes,
        "disk_bytes": folder_bytes(place(data, name)),
    }


def thinned(settings: list[Setting], options: Options) -> list[Setting]:
    """Every `options.every`-th setting, and the default."""
    return [s for i, s in enumerate(settings) if i % options.every == 0 or s.is_default]


def batches(found: list[Measured], data: Dataset, options: Options) -> dict[str, Any]:
    """All queries at once, by recall: each engine's setting that is fastest from there on.

    On 1 thread, and on 2 at recall .95.
    """
    result: dict[str, Any] = {}
    for recall in BATCHED:
        threads = (1, 2) if recall == BATCHED[0] else (1,)
        at = result[str(recall)] = {}
        for name in dict.fromkeys(one.engine for one in found):
            own = [o for o in found if o.engine == name and o.recall["recall"] >= recall]
            if own:
                best = max(own, key=lambda one: one.as_json()["queries_per_s"])
                speeds = time_batches(best.setting, np.array(data.queries), threads, options.effort)
                at[name] = {"setting": best.setting.label, "queries_per_s": speeds}
    return result


def summary(result: dict[str, Any], k: int) -> dict[str, Any]:
    """Queries/s of every engine at the recalls that are asked for, and who is best."""
    answers = k * result["data"]["queries"]
    at: dict[str, Any] = {}
    for recall in RECALLS:
        speeds = {}
        for name in result["engines"]:
            speed = speed_at(points(result, k, name), recall, answers)
            speeds[name] = speed and round(speed, 1)
        at[str(recall)] = {"queries_per_s": speeds, **against_best(result, speeds)}
    return at


def against_best(result: dict[str, Any], speeds: dict[str, float | None]) -> dict[str, Any]:
    """The best peer, and how many times as fast nestvec is."""
    peers = {name: speed for name, speed in speeds.items() if speed and name != "nestvec"}
    if not peers:
        return {}
    best = max(peers, key=lambda name: peers[name])
    ours = speeds.get("nestvec")
    return {"best_peer": best, "times_best_peer": ours and round(ours / peers[best], 2)}


def table(result: dict[str, Any], k: int) -> str:
    """The fronts, engine by engine, and the speeds at the recalls asked for."""
    lines = [f"{result['data']['name']}, k = {k}: recall, queries/s, setting"]
    for name, record in result["engines"].items():
        if "failed" in record:
            lines.append(f"{name}: {record['failed']}")
            continue
        lines.append(f"{name}, built in {record['build']['seconds']} s")
        lines += [
            f"  {point.recall:.4f} {point.queries_per_s:>10,.0f}  {point.label}"
            for point in front(points(result, k, name))
        ]
    for recall, at in result["summary"][str(k)].items():
        lines.append(f"at recall {recall}:")
        ranked = sorted(at["queries_per_s"].items(), key=lambda item: -(item[1] or 0))
        lines += [f"  {name:20} {speed:>10,.0f}" for name, speed in ranked if speed]
    return "\n".join(lines)


def missing(name: str) -> str | None:
    """What is not installed for an engine, or None."""
    try:
        engine(name)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    return None


def machine(engines: tuple[str, ...]) -> dict[str, Any]:
    """What the figures depend on."""
    cpu = Path("/proc/cpuinfo").read_text().split("model name\t: ")[1].split("\n")[0]
    installed = [engine(name).package for name in engines if not missing(name)]
    packages = dict.fromkeys(("numpy", "numba", *installed))
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def about(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "rows": len(data.vectors),
        "dim": data.vectors.shape[1],
        "metric": data.metric,
        "queries": len(data.queries),
    }


def save(result: dict[str, Any]) -> Path:
    """Write the result file of a data set."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{result['data']['name']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path
