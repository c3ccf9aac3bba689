"""Copy the figures of the result files into README.md and pages of docs/, between their markers.

python benchmarks/readme.py [--check]
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGES = (
    "README.md", "docs/how-to/tuning.md", "docs/how-to/adapting.md",
    "docs/reference/figures.md", "docs/reference/training-figures.md",
)  # fmt: skip
MARKED = re.compile(r"(<!-- (\w+): benchmarks/readme.py -->\n).*?(<!-- end of \2 -->)", re.S)
QUOTED, WHAT = "arxiv-titles", "titles of arXiv papers"
EXACT = "arxiv-sentences-500000"
RECALLS = ("0.95", "0.99")
KINDS = ("graph", "cells", "flat")
MEASURES = {
    "recall": "recall", "perfect_recall": "recall of 1, share of queries",
    "shortlist_recall": "all 10 in the shortlist, share of queries", "ndcg": "1 − nDCG@10 lost",
}  # fmt: skip
SHARES = (0.001, 0.1, 1.0)
SIZES_ADAPTED = ("32", "64", "128", "full")
METHOD_NAMES = {"random": "random rotation", "neighbours": "neighbour whitening"}
"""Names of methods in pages, where they differ from the keys of `results/adapt.json`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a page is not up to date")
    options = parser.parse_args()
    made = {
        "figures": figures, "guarantee": guarantee, "tuned": tuned, "adapted": adapted,
        "closed": closed, "images": images, "cascades": cascades, "texts": texts,
    }  # fmt: skip
    for page in (HERE.parent / name for name in PAGES):
        before = page.read_text()
        after = MARKED.sub(lambda match: match[1] + made[match[2]]() + match[3], before)
        if options.check and before != after:
            sys.exit(f"{page} is not up to date with benchmarks/results; run benchmarks/readme.py")
        page.write_text(after)


def figures() -> str:
    """README: nestvec beside its peers, what was measured, and further figures, each in a row."""
    search = read(f"search/{QUOTED}.json")
    lines = [
        "| engine | queries/s at recall@10 .95 | at .99 | in a batch, .95 | .99 | build, s "
        "| hot bytes per row |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in shown(search):
        speeds = [search["summary"]["10"][recall]["queries_per_s"][name] for recall in RECALLS]
        batched = [search["batches"]["10"][recall].get(name) for recall in RECALLS]
        speeds += [found and found["queries_per_s"]["1"] for found in batched]
        quoted = " | ".join(f"{speed:,.0f}" if speed else "–" for speed in speeds)
        engine = search["engines"][name]
        lines.append(
            f"| {engine['title']} | {quoted} | {engine['build']['seconds']:,.1f} "
            f"| {engine['hot_bytes'] / search['data']['rows']:,.0f} |"
        )
    rows = further_figures(search, read("start.json"), read("memory.json")["builds"][-1])
    further = ["| nestvec | measured |", "|---|---|", *(f"| {of} | {is_} |" for of, is_ in rows)]
    return "\n".join([*lines, "", *conditions(search), "", *further, ""])


def shown(search: dict[str, Any]) -> list[str]:
    """nestvec, and of each kind of peer the one that is fastest at .95, fastest kind first."""
    speeds = search["summary"]["10"]["0.95"]["queries_per_s"]
    best = ["nestvec"]
    for kind in KINDS:
        names = [n for n, e in search["engines"].items() if e.get("kind") == kind and speeds.get(n)]
        best += [max(names, key=lambda name: speeds[name])] if names else []
    return best


def conditions(search: dict[str, Any]) -> list[str]:
    """Data, machine and method of the comparison, a sentence on each line."""
    data, machine = search["data"], search["machine"]
    return [
        f"The data are {data['rows']:,} {WHAT} × {data['dim']} dims (MiniLM, not trained nested).",
        f"{data['queries']:,} held-out queries were searched one by one in 1 thread "
        f"({machine['cpu']}).",
        "Speeds are medians of interleaved rounds; recall is by id against float64 brute force.",
        f"Of each kind of peer the fastest is shown, read off its curve; {machine['cores']} cores "
        "built the indexes.",
    ]


def further_figures(
    search: dict[str, Any], start: dict[str, Any], largest: dict[str, Any]
) -> list[tuple[str, str]]:
    """Figures of nestvec alone: what each is of, and its value."""
    (default,) = [row for row in search["searches"]["10"] if row["is_default"]]
    return [
        (
            "the default plan on the same titles",
            f"recall {default['recall']:.3f}, {default['queries_per_s']:,.0f} queries/s",
        ),
        *exact_figures(read(f"exact/{EXACT}.json")),
        (
            "first answer of a new process",
            f"{start['first_answer_warm_s']:.2f} s; {start['first_answer_cold_s']:.1f} s where "
            "the kernels must be compiled",
        ),
        (
            f"memory to build {largest['vector_mb'] / 1e3:.1f} GB of vectors, and to search them",
            f"{largest['peak_mb']:.0f} MB and {largest['search']['peak_mb']:.0f} MB, "
            f"where {largest['limit_mb']} MB are allowed",
        ),
        *filter_figures(read("filters.json")),
    ]


def filter_figures(filters: dict[str, Any]) -> list[tuple[str, str]]:
    """Filtered searches at several selectivities, rows drawn at random."""
    found = {row["share"]: row for row in filters["search"] if row["where"].startswith("random")}
    return [
        (
            f"search with a filter that allows {100 * share:g} % of {filters['rows']:,} rows",
            f"{found[share]['times_unfiltered']:.2f} × the speed without a filter, "
            f"recall {found[share]['recall_at_10']['default']:.3f}",
        )
        for share in SHARES
    ]


def exact_figures(exact: dict[str, Any]) -> list[tuple[str, str]]:
    """Speed of exact search with certificates, and its share of a full scan's bytes."""
    found = exact["summary"]
    return [
        (
            f"exact search with certificates, {exact['data']['rows']:,} sentences",
            f"{found['queries_per_s']['nestvec']:,.0f} queries/s, "
            f"reading {100 * found['share_of_bytes_read']:.1f} % of the vectors' bytes",
        ),
        (
            "the same, beside FAISS Flat and Panorama",
            f"{found['times_flat']:.1f} × and {found['times_panorama']:.1f} × as fast one by one; "
            f"{found['times_flat_in_batch']:.1f} × Flat's matrix products in a batch",
        ),
    ]


def guarantee() -> str:
    """docs/how-to/tuning.md: how often guarantees fail over resampled calibrations; their cost."""
    told = read("guarantee.json")
    lines = [
        f"{told['pool']:,} of {told['rows'] + told['pool']:,} arXiv titles are asked as queries of",
        f"the others (MiniLM, {told['dim']} dims, k = 10), {told['rounds']} calibrations for each",
        "guarantee, each on a random sample; the mean over all queries that are not in the sample",
        "counts as the truth.",
        "",
        "| guarantee | sample | may fail | failed (95 % interval) | naive failed | median truth "
        "| bytes, of the default's | with Hoeffding–Bentkus |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in told["cases"]:
        guarantee, ours, default = case["guarantee"], case["tuned"], case["default_bytes"]
        failed, before = ours["failed"], case.get("hoeffding_bentkus")
        cautious = f"{before['median_bytes'] / default:.0%}" if before else "–"
        lines.append(
            f"| {MEASURES[guarantee['measure']]} ≥ {guarantee['target']:.2f} "
            f"at {guarantee['confidence']:.2f} | {case['sample']:,} | {case['allowed']:.0%} "
            f"| {failed['value']:.1%} ({failed['low']:.1%} to {failed['high']:.1%}) "
            f"| {case['naive']['failed']['value']:.0%} | {ours['median_true']:.4f} "
            f"| {ours['median_bytes'] / default:.0%} | {cautious} |"
        )
    return "\n".join([*lines, ""])


def tuned() -> str:
    """docs/how-to/tuning.md: what is found for .95 and .99."""
    told = read("tuned.json")
    lines = [
        "| index | queries | guarantee | verdict | plan | attained (95 % interval) "
        "| bytes per query | of the default's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in told["plans"]:
        attained, plan = one["attained"], f"`{one['plan']}`" if one["plan"] else "–"
        verdict = one["verdict"] + (
            f", needs {one['queries_needed']:,}" if one["queries_needed"] else ""
        )
        costs = ["–", "–"]
        if one["plan"]:
            costs = [f"{one['bytes']:,.0f}", f"{one['bytes'] / one['default_bytes']:.0%}"]
        lines.append(
            f"| {one['rows_searched']:,} {one['data']} | {one['queries']:,} "
            f"| {MEASURES[one['measure']]} ≥ {one['target']:.2f} | {verdict} | {plan} "
            f"| {attained['value']:.4f} ({attained['low']:.4f} to {attained['high']:.4f}) "
            f"| {' | '.join(costs)} |"
        )
    return "\n".join([*lines, ""])


def adapted() -> str:
    """docs/reference/figures.md: every method on every collection, beside PCA."""
    runs = read("adapt.json")["runs"]
    lines = [
        f"| collection, test queries | method | {' | '.join(SIZES_ADAPTED)} | seeds | fit, s |",
        "|---|---|" + "---|" * (len(SIZES_ADAPTED) + 2),
    ]
    for name in dict.fromkeys(run["set"] for run in runs):
        of_set = [run for run in runs if run["set"] == name]
        split = "" if of_set[0]["strict"] else ", split not strict"
        title = f"{name}, {of_set[0]['test_queries']:,}{split}"
        for method in dict.fromkeys(run["method"] for run in of_set):
            same = [run for run in of_set if run["method"] == method]
            cells = " | ".join(adapted_cell(same, size) for size in SIZES_ADAPTED)
            seconds = min(run["seconds"] for run in same)
            name_shown = METHOD_NAMES.get(method, method)
            lines.append(f"| {title} | {name_shown} | {cells} | {len(same)} | {seconds:.0f} |")
            title = ""
    return "\n".join([*lines, ""])


def adapted_cell(runs: list[dict[str, Any]], size: str) -> str:
    """Mean nDCG@10 over seeds; an arrow where every seed's gain over PCA lies off 0 one way."""
    found = [at(run, size) for run in runs]
    value = statistics.fmean(one["ndcg@10"][0] for one in found)
    better = all(one["gain"][1] > 0 for one in found)
    worse = all(one["gain"][2] < 0 for one in found)
    return f"{value:.3f}{' ↑' if better else ' ↓' if worse else ''}"


def closed() -> str:
    """docs/how-to/adapting.md: averages over collections, of all learned methods and the free."""
    runs = read("adapt.json")["runs"]
    lines = [
        "| method | collections | 32 | 64 | 128 | full | gap closed at 32 | at 64 "
        "| 1 bit retains .97 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(run["method"] for run in runs):
        same = [run for run in runs if run["method"] == method]
        names = {run["set"] for run in same}
        base = [run for run in runs if run["method"] == "pca" and run["set"] in names]
        means = [average(same, size) for size in SIZES_ADAPTED]
        shares = [
            (average(same, size) - average(base, size))
            / (average(base, "full") - average(base, size))
            for size in SIZES_ADAPTED[:2]
        ]
        kept = [of["at 1 bit"]["kept"] for run in same for of in list(run["sizes"].values())[:3]]
        cells = [*(f"{mean:.3f}" for mean in means), *(f"{share:+.2f}" for share in shares)]
        lines.append(
            f"| {METHOD_NAMES.get(method, method)} | {len(names)} | {' | '.join(cells)} "
            f"| {sum(one >= 0.97 for one in kept) / len(kept):.0%} |"
        )
    return "\n".join([*lines, ""])


def average(runs: list[dict[str, Any]], size: str) -> float:
    """Mean nDCG@10 over collections of the mean over seeds."""
    names = dict.fromkeys(run["set"] for run in runs)
    by_set = [[at(run, size)["ndcg@10"][0] for run in runs if run["set"] == n] for n in names]
    return statistics.fmean(map(statistics.fmean, by_set))


def at(run: dict[str, Any], size: str) -> dict[str, Any]:
    """What was found at a size, or at full width."""
    return run["sizes"][max(run["sizes"], key=int) if size == "full" else size]


def images() -> str:
    """docs/reference/training-figures.md: accuracy on test images, by network and size."""
    cases = read("train_images.json")["cases"]
    sizes = sorted({dim for case in cases.values() for dim in case["dims"]})
    lines = [
        f"| images; steps, seeds | accuracy, % | {' | '.join(map(str, sizes))} |",
        "|---|---|" + "---|" * len(sizes),
    ]
    for name, case in cases.items():
        seeds = len(case["runs"])
        title = f"{name}; {case['loop']['steps']:,}, {seeds}"
        for label, found in of_case(case["summary"]).items():
            cells = [percent(found.get(str(dim)), signed=label.endswith("above")) for dim in sizes]
            lines.append(f"| {title} | {label} | {' | '.join(cells)} |")
            title = ""
    return "\n".join([*lines, ""])


def of_case(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is told of one case, by size; the plain networks, each of one size, are one row."""
    head, probe = summary["head"], summary["probe"]
    alone = {dim: v for name in head if name.startswith("plain") for dim, v in head[name].items()}
    return {
        "MRL": head["MRL"], "MRL-E": head["MRL-E"], "a plain network per size": alone,
        "MRL is above": summary["differences"]["MRL - plain"],
        "softmax regression on MRL": probe["MRL"],
        "on PCA of the widest plain one": probe["plain, PCA"],
        "on random dimensions of it": probe["plain, random"],
    }  # fmt: skip


def percent(found: list[float] | None, signed: bool = False) -> str:
    """A mean, and half of its interval over seeds if there are several."""
    if found is None:
        return ""
    mean = f"{100 * found[0]:{'+' if signed else ''}.1f}"
    return mean if found[1] is None else f"{mean} ± {100 * found[1]:.1f}"


def cascades() -> str:
    """docs/reference/training-figures.md: what the heads save, one after the other."""
    cases = read("train_images.json")["cases"]
    lines = [
        "| images; seeds | full width | way | points below it | times fewer dims | by the sum |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in cases.items():
        title = f"{name}; {len(case['runs'])} | {case['dims'][-1]}"
        for way, found in case["summary"]["cascade"].items():
            fewer = [f"{found[key][0]:.1f}" for key in ("times_fewer", "times_fewer_summed")]
            below = percent(found["below_full"], signed=True)
            lines.append(f"| {title} | {way} | {below} | {' | '.join(fewer)} |")
            title = " | "
    return "\n".join([*lines, ""])


def texts() -> str:
    """docs/reference/training-figures.md: nDCG@10 of each form and size, with its controls."""
    forms = read("train_text.json")["forms"]
    names = {"prefix": "", "random": ", random dimensions", "pca": ", its principal components"}
    sizes = [size["dims"] for size in next(iter(forms.values()))["sizes"]]
    lines = [
        f"| tuned | steps | {' | '.join(map(str, sizes))} |",
        "|---|---|" + "---|" * len(sizes),
    ]
    for form, told in forms.items():
        steps = told["loop"]["steps"] if told["loop"] else 0
        for control, title in names.items():
            cells = [f"{size['ndcg'][control]['value']:.3f}" for size in told["sizes"]]
            lines.append(f"| {form}{title} | {steps} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def read(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / name).read_text())


if __name__ == "__main__":
    main()
