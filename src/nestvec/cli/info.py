"""`nestvec info` and `nestvec export`: an index described, and written to a file."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nestvec.cli import options
from nestvec.cli.output import print_facts, print_json, print_table, short_path, size
from nestvec.index import Index
from nestvec.index.plans.stored_plans import StoredPlan
from nestvec.index.snapshot import LiveSegment
from nestvec.plurals import count_of
from nestvec.tuning.evidence import with_current_names


def info(
    index: options.IndexPath,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every byte against the stored checksums.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what an index holds, how it is coded and what it takes.

    Examples:
      nestvec info corpus.nv
      nestvec info corpus.nv --verify
    """
    index_ = Index.open(index, verify=verify)
    facts = _facts(index_, verify)
    if json:
        print_json(facts)
        return
    hot, disk, plain = (facts[name] for name in ("hot_bytes", "disk_bytes", "float32_bytes"))
    segments = count_of(len(facts["segments"]), "segment")
    model = facts["model"] or {"name": "none recorded", "revision": None}
    print_facts(
        {
            "index": f"{index}, format {facts['format']}{', verified' if verify else ''}",
            "rows": f"{facts['rows']:,} of {count_of(facts['dim'], 'dim')}",
            "model": _model_line(model),
            **_transform_line(index_),
            "generation": f"{facts['generation']}, in {segments}, "
            f"{count_of(facts['deleted_rows'], 'deleted row')} until compact",
            "codes": f"{facts['bits']:g} bits per dimension; rotation {facts['rotation']}",
            "hot bytes": f"{size(hot)}, {hot / max(1, facts['rows']):.0f} bytes per row: "
            f"{hot / max(1, plain):.1%} of the float32 vectors ({size(plain)})",
            "on disk": f"{size(disk)}, full vectors and texts included",
            "default plan": facts["default_plan"],
            **({"its recall": str(index_.default_recall)} if index_.default_recall else {}),
            **{f"tuned for k={t['rows']}": _tuned_line(t) for t in facts["tuned"]},
        }
    )
    print()
    print_table(
        {
            "segment": "right",
            "rows": "right",
            "deleted": "right",
            "cells": "right",
            "bits by 64 dims": "left",
        },
        [
            (
                str(s["segment"]),
                f"{s['rows']:,}",
                f"{s['deleted_rows']:,}",
                f"{s['cells']:,}" if s["cells"] else s["layout"],
                " ".join(map(str, s["bits_per_group"])),
            )
            for s in facts["segments"]
        ],
    )
    print()
    print_table(
        {"file": "left", "size": "right"},
        [(f["name"], size(f["size_bytes"])) for f in facts["files"]],
    )


def _facts(index: Index, verified: bool) -> dict[str, Any]:
    files: list[Mapping[str, Any]] = [
        {"name": path.name, "size_bytes": path.stat().st_size}
        for path in sorted(index.path.iterdir())
    ]
    meta, segments = index.meta, [_segment(part) for part in index.snapshot.parts]
    return {
        "index": index.path,
        "format": meta["format"],
        "generation": index.generation,
        "rows": len(index),
        "deleted_rows": sum(segment["deleted_rows"] for segment in segments),
        "dim": index.dim,
        "model": meta["model"],
        "adapter": index.transform and index.transform.fingerprint,
        "rotation": meta["rotation"],
        "bits": meta["bits"],
        "seed": meta["seed"],
        "segments": segments,
        "hot_bytes": index.hot_bytes,
        "disk_bytes": sum(file["size_bytes"] for file in files),
        "float32_bytes": 4 * len(index) * index.dim,
        "default_plan": str(index.default_plan(max(1, min(10, len(index))))),
        "default_recall": None
        if index.default_recall is None
        else asdict(index.default_recall) | {"plan": str(index.default_recall.plan)},
        "tuned": [_tuned(rows, tuned) for rows, tuned in sorted(index.stored_plans.items())],
        "files": files,
        "verified": verified,
    }


def _model_line(model: Mapping[str, Any]) -> str:
    address = f" at {model['base_url']}" if model.get("base_url") else ""
    return f"{model['name']} ({model['revision'] or 'revision unknown'}){address}"


def _transform_line(index: Index) -> dict[str, str]:
    transform = index.transform
    if transform is None:
        return {}
    return {
        "transform": f"{transform.kind} from {count_of(transform.dim, 'dim')}, "
        f"{transform.fingerprint[:12]}"
    }


def _segment(part: LiveSegment) -> dict[str, Any]:
    return {
        "segment": part.entry.segment,
        "layout": part.entry.layout,
        "rows": part.entry.rows,
        "deleted_rows": part.entry.rows - part.count,
        "cells": 0 if part.coded is None else len(part.coded.cells.counts),
        "bits_per_group": [] if part.coded is None else part.coded.codec.bits.tolist(),
    }


def _tuned(rows: int, tuned: StoredPlan) -> dict[str, Any]:
    evidence = with_current_names(tuned.evidence)
    return {
        **{name: value for name, value in evidence.items() if name != "query_keys"},
        "rows": rows,
        "plan": str(tuned.plan),
        "current": tuned.current,
    }


def _tuned_line(tuned: Mapping[str, Any]) -> str:
    if not tuned["current"]:
        return "stale: rows have changed since, searches use the default; nestvec tune"
    easy = ", OPTIMISTIC: by queries from the index" if tuned["n_self_matches"] else ""
    return (
        f"{tuned['plan']} · {tuned['guarantee']}, "
        f"{tuned['attained']['value']:.4f} on "
        f"{count_of(tuned['attained']['n'], 'query', 'queries')}{easy}"
    )


def export(
    index: options.IndexPath,
    to: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help=".jsonl, .jsonl.gz, .parquet, .npz, .npy or .safetensors."
        ),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    json: options.Json = False,
) -> None:
    """Export the rows of an index to a file, which nestvec index reads again.

    .jsonl and .parquet hold ids, vectors, texts and metadata; .npz holds vectors and ids,
    .safetensors vectors and ids that are numbers, .npy vectors alone.

    Examples:
      nestvec export corpus.nv --to corpus.parquet
      nestvec export corpus.nv --to corpus.jsonl.gz --overwrite
    """
    with Index.open(index) as opened:
        opened.export(to, overwrite=overwrite)
        rows, dim = len(opened), opened.dim
    n_bytes = to.expanduser().stat().st_size
    if json:
        print_json({"file": to, "rows": rows, "dim": dim, "size_bytes": n_bytes})
        return
    content = f"{count_of(rows, 'row')} of {count_of(dim, 'dim')}"
    print_facts({"file": f"{short_path(to)}, {content}", "size": size(n_bytes)})
