"""Schema of a report: its version, and how a report of the version before is read.

Schema 2 names things as the glossary does. It holds the same numbers as schema 1.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

SCHEMA = "nestvec.audit/2"
SCHEMA_1 = "nestvec.audit/1"

_RENAMED: Mapping[str, Mapping[str, str]] = {
    "report": {"made": "created_at"},
    "inputs": {
        "judgements": "judgments",
        "hard_negatives_by": "hard_negative_source",
        "edited_documents": "counterfactual_documents",
        "disturbed_queries": "perturbed_queries",
        "strangers": "out_of_distribution_queries",
        "queries_among_documents": "self_matches",
    },
    "thresholds": {"least_queries": "min_queries"},
    "check": {"said": "message"},
    "knee": {"said": "message"},
    "variant": {"rescore": "rerank", "bytes": "size_bytes", "measure": "metric"},
    "details": {"edited_documents": "counterfactual_documents"},
    "corpus_growth": {"certified_to": "shown_to"},
    "resolution": {"kept": "in_order"},
    "worst_query": {
        "before": "baseline_score",
        "after": "variant_score",
        "full": "baseline_top",
        "variant": "variant_top",
    },
}
"""Keys of schema 1 and their names in schema 2, by the part of a report that holds them."""
_HARD_NEGATIVE_SOURCES = {"given": "user", "words": "bm25", "other": "external"}
_LABELS: Mapping[Any, str] = {"given": "external"}
"""Label of vectors that were compressed elsewhere and had no label."""
_KINDS = {"given": "unlabelled"}
"""Kind of hard negatives without one."""
_OF_KIND = re.compile(r"(triplet_accuracy|group_accuracy|net_flips|flip_loss):(.+)")
_EDITED = re.compile(r":edited(?= |$)")
"""End of a metric's name: all kinds of edited documents together."""


def upgrade(report: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a report of schema 1 to schema 2; numbers and the order of keys stay as they are."""
    names = {variant["name"]: _variant_name(variant) for variant in report["variants"]}
    upgraded = _rename("report", report) | {"schema": SCHEMA}
    converters: dict[str, Callable[[Any], Any]] = {
        "inputs": _upgrade_inputs,
        "thresholds": lambda thresholds: _rename("thresholds", thresholds),
        "preflight": _upgrade_checks,
        "variants": lambda variants: [_upgrade_variant(entry, names) for entry in variants],
        "asymmetry": lambda entries: [_upgrade_fields(entry) for entry in entries],
        "safe_dims": lambda entries: [_upgrade_fields(entry) for entry in entries],
        "knee": lambda knee: None if knee is None else _rename("knee", knee),
        "worst_queries": lambda by_name: {
            names.get(name, name): [_rename("worst_query", query) for query in queries]
            for name, queries in by_name.items()
        },
    }
    for key, convert in converters.items():
        if key in upgraded:
            upgraded[key] = convert(upgraded[key])
    return upgraded


def _rename(part: str, table: Mapping[str, Any]) -> dict[str, Any]:
    return {_RENAMED[part].get(key, key): value for key, value in table.items()}


def _upgrade_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    upgraded = _rename("inputs", inputs)
    source: Any = upgraded.get("hard_negative_source")
    return upgraded | {"hard_negative_source": _HARD_NEGATIVE_SOURCES.get(source, source)}


def _upgrade_checks(checks: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_rename("check", check) for check in checks]


def _upgrade_fields(table: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the fields of a variant, and split `rotation` from random dims."""
    is_random = table["rotation"] == "random"
    upgraded: dict[str, Any] = {}
    for key, value in _rename("variant", table).items():
        upgraded[key] = value
        if key == "rotation":
            upgraded |= {"rotation": "none" if is_random else value, "random_dims": is_random}
        elif key == "label":
            upgraded[key] = _LABELS.get(value, value)
    return upgraded


def _upgrade_variant(variant: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    upgraded: dict[str, Any] = {}
    for key, value in _upgrade_fields(variant).items():
        upgraded[key] = value
        if key == "label":
            upgraded["plan"] = None  # schema 1 had none
    upgraded["name"] = names[variant["name"]]
    upgraded["reasons"] = [_upgrade_reason(reason, names) for reason in variant["reasons"]]
    upgraded["metrics"] = {
        _metric_name(name): metric for name, metric in variant["metrics"].items()
    }
    upgraded["details"] = {
        key: _upgrade_details(key, details)
        for key, details in _rename("details", variant["details"]).items()
    }
    upgraded["preflight"] = _upgrade_checks(variant.get("preflight", []))
    if "equal_bytes" in variant:
        upgraded["equal_bytes"] = [names.get(name, name) for name in variant["equal_bytes"]]
    return upgraded


def _upgrade_details(key: str, details: Any) -> Any:
    if key == "resolution":
        return [_rename("resolution", bin_) for bin_ in details]
    if key == "hard_negatives":
        kinds = {_KINDS.get(kind, kind): entry for kind, entry in details["kinds"].items()}
        lost = [_KINDS.get(kind, kind) for kind in details["kinds_lost"]]
        return details | {"kinds": kinds, "kinds_lost": lost}
    return _rename("corpus_growth", details) if key.endswith("corpus_growth") else details


def _metric_name(name: str) -> str:
    """Spell the name of a metric, with its kind of hard negatives, as schema 2 does."""
    if of_kind := _OF_KIND.fullmatch(name):
        measure, kind = of_kind.groups()
        name = f"{measure}:{_KINDS.get(kind, kind)}"
    return _EDITED.sub(":counterfactual", name)


def _upgrade_reason(reason: str, names: Mapping[str, str]) -> str:
    """Spell the metric and the variant that a reason names as schema 2 does."""
    for name in sorted(names, key=len, reverse=True):
        if reason.startswith(name):
            return names[name] + reason.removeprefix(name)
    return _EDITED.sub(":counterfactual", reason)


def _variant_name(variant: Mapping[str, Any]) -> str:
    """Spell the name of a schema 1 variant as schema 2 does."""
    bits, label = variant["bits"], variant.get("label")
    parts = [
        _LABELS.get(label, label),
        f"{variant['dims']} {'random ' if variant['rotation'] == 'random' else ''}dims",
        f"{bits} {'bit' if bits == 1 else 'bits'}",
        variant["rotation"] if variant["rotation"] == "pca" else None,
        None if variant["side"] == "both" else f"{variant['side']} only",
        f"reranked {variant['rescore']}" if variant["rescore"] else None,
    ]
    return ", ".join(part for part in parts if part)
