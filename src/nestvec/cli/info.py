"""`nestvec info`: what an index is."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from nestvec.cli import options
from nestvec.cli.output import print_facts, print_json, print_table, size
from nestvec.index import Index


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
    facts = _facts(Index.open(index, verify=verify), verify)
    if json:
        print_json(facts)
        return
    hot, disk, plain = (facts[name] for name in ("hot_bytes", "disk_bytes", "float32_bytes"))
    model = facts["model"] or {"name": "none recorded", "revision": None}
    print_facts(
        {
            "index": f"{index}, format {facts['format']}{', verified' if verify else ''}",
            "rows": f"{facts['rows']:,} of {facts['dim']} dims",
            "model": f"{model['name']} ({model['revision'] or 'revision unknown'})",
            "codes": f"{facts['bits']:g} bits per dimension; by groups of 64: "
            f"{' '.join(map(str, facts['bits_per_group']))}; rotation {facts['rotation']}",
            "cells": f"{facts['cells']:,}",
            "at hand": f"{size(hot)}, {hot / facts['rows']:.0f} bytes per row: "
            f"{hot / plain:.1%} of the float32 vectors ({size(plain)})",
            "on disk": f"{size(disk)}, full vectors and texts included",
            "default plan": facts["default_plan"],
        }
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
    meta = index.meta
    return {
        "index": index.path,
        "format": meta["format"],
        "rows": len(index),
        "dim": index.dim,
        "model": meta["model"],
        "rotation": meta["rotation"],
        "bits": meta["bits"],
        "bits_per_group": index.segment.codec.bits.tolist(),
        "seed": meta["seed"],
        "cells": len(index.segment.cells.counts),
        "hot_bytes": index.segment.hot_bytes,
        "disk_bytes": sum(file["size_bytes"] for file in files),
        "float32_bytes": index.vectors.nbytes,
        "default_plan": str(index.default_plan(min(10, len(index)))),
        "files": files,
        "verified": verified,
    }
