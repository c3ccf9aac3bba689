"""Titles and explanations of the metrics, and the sections that show them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nestvec.auditing.reporting.formatting import format_number, format_percent


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name in the report, its title and its explanation on the page."""

    name: str
    title: str
    meaning: str = ""
    is_share: bool = False

    def format(self, value: float) -> str:
        """Format a value for the first screen."""
        return format_percent(value) if self.is_share else format_number(value)


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """Metrics that one section shows, the most important first."""

    id: str
    title: str
    lead: str
    metrics: Sequence[Metric]


_RETENTION = Metric(
    "ndcg@10_retention",
    "nDCG@10 retention",
    "nDCG@10 by relevance judgments, as a share of the baseline's.",
    is_share=True,
)
_RECALL_RETENTION = Metric(
    "recall@10_retention",
    "Recall@10 retention",
    "Relevant documents among the first ten, as a share of the baseline's.",
    is_share=True,
)
_OVERLAP = Metric(
    "overlap_with_ties@10",
    "Overlap@10 with the baseline",
    "The share of the baseline's first ten results that is returned here too. Scores tied with "
    "the tenth count.",
    is_share=True,
)
_FRAGILITY = Metric(
    "excess_fragility",
    "Excess fragility",
    "Retention on hard negatives divided by retention on random documents. Below 1, compression "
    "hurts hard negatives more.",
)
_FLIPS = Metric(
    "net_flips",
    "Net flips",
    "Hard negatives that only the baseline ranks correctly, minus those that only the variant "
    "does.",
    is_share=True,
)
_SHORTLIST = Metric(
    "shortlist_95%",
    "Shortlist depth for 95% of queries",
    "Results to rerank so that the baseline's whole first ten is among them.",
)

RELEVANCE = MetricGroup(
    "relevance",
    "Relevance",
    "Quality by relevance judgments, compared with the baseline: the same queries answered by the "
    "full vectors. Bands are 95% intervals.",
    (
        _RETENTION,
        _RECALL_RETENTION,
        Metric("recall@100_retention", "Recall@100 retention"),
        Metric("mrr@10_retention", "MRR@10 retention"),
        Metric("ndcg@10", "nDCG@10"),
        Metric("recall@10", "Recall@10"),
        Metric("recall@100", "Recall@100"),
        Metric("mrr@10", "MRR@10"),
        Metric("loss_p5", "nDCG@10 change, 5% quantile of the queries"),
        Metric("large_losses", "Queries that lose more than 0.2 of nDCG@10"),
    ),
)
FIDELITY = MetricGroup(
    "fidelity",
    "Agreement with the baseline",
    "How many of the baseline's results each variant returns too, right or wrong. This needs no "
    "relevance judgments. Shortlist depth is the number of results to rerank so that the "
    "baseline's whole first ten is among them.",
    (
        _OVERLAP,
        _SHORTLIST,
        Metric("shortlist_99%", "Shortlist depth for 99% of queries"),
        Metric("overlap@10", "Overlap@10, ties not counted"),
        Metric("rbo", "Rank-biased overlap"),
        Metric("tau", "Kendall's τ-b"),
        Metric("inverse_ratio@10", "Distance ratio@10, baseline / variant"),
        Metric("zero_overlap", "Queries with no overlap@10"),
        Metric("resolution", "Smallest score gap that keeps its order (ε95)"),
        Metric("effective_rank", "Effective rank (dimensions in use)"),
        Metric("local_dimension", "Local intrinsic dimension"),
        Metric("hub_skew", "Hubness (skewness)"),
    ),
)
HARD_NEGATIVES = MetricGroup(
    "hard-negatives",
    "Hard negatives",
    "Do queries still rank their relevant documents above documents that only look relevant? "
    "Chance gets half of the triplets right. Excess fragility divides the retention on hard "
    "negatives by the retention on random documents.",
    (
        Metric("triplet_accuracy", "Triplet accuracy"),
        _FRAGILITY,
        _FLIPS,
        Metric("triplet_retention", "Triplet accuracy retention"),
        Metric("group_accuracy", "Group accuracy (all hard negatives beaten)"),
        Metric("flip_loss", "Share lost of the groups that were right"),
        Metric("retention_hard", "Retention on hard negatives"),
        Metric("retention_easy", "Retention on random documents"),
        Metric("rank_in_set", "Rank among the hard negatives"),
        Metric("margin_p5", "Margin, 5% quantile"),
        Metric("margin_p25", "Margin, 25% quantile"),
        Metric("margin_p50", "Margin, median"),
    ),
)
FEW_SHOT = MetricGroup(
    "few-shot",
    "Few-shot classification",
    "Are classes of documents still told apart by the nearest mean of five examples per class? "
    "Classes and examples are drawn at random many times, up to five classes each time.",
    (
        Metric("few_shot_accuracy", "Few-shot accuracy"),
        Metric("few_shot_difference", "Few-shot accuracy, variant − baseline"),
        Metric("few_shot_retention", "Few-shot accuracy retention"),
    ),
)
POISONING = MetricGroup(
    "poisoning",
    "Poisoning",
    "Ten documents are planted in the midst of half of the queries, as an attacker would who knows "
    "these queries. Attack success is the share of the other queries that find a planted document "
    "among their first ten.",
    (
        Metric("attack_success", "Attack success"),
        Metric("attack_gain", "Attack success, variant − baseline"),
    ),
)
GROUPS = (RELEVANCE, FIDELITY, HARD_NEGATIVES, FEW_SHOT, POISONING)

HEADLINES = (_RETENTION, _FRAGILITY, _OVERLAP, _RECALL_RETENTION, _SHORTLIST)
"""The first screen shows the first three of these that were measured."""

_TITLES = {metric.name: metric.title for group in GROUPS for metric in group.metrics} | {
    "recall@10_at_tenth": "Recall@10 in a tenth of the corpus",
    "recall@10_at_n": "Recall@10 in the whole corpus",
    "recall@10_at_tenfold": "Recall@10 in ten times the corpus, extrapolated",
    "retention_at_tenth": "Recall@10 retention in a tenth of the corpus",
    "retention_at_n": "Recall@10 retention in the whole corpus",
    "half_size": "Distractors at which recall@10 falls to half",
    "slice_retention": "Retention in the slice",
    "slice_interaction": "Retention in the slice / elsewhere",
}
_SHORTLIST_RECALL = re.compile(r"shortlist_recall@(\d+)_at_(tenth|n|tenfold)")
_SHORTLIST_RETENTION = re.compile(r"shortlist_retention_at_(tenth|n|tenfold)")
_CORPUS_SIZES = {
    "tenth": "in a tenth of the corpus",
    "n": "in the whole corpus",
    "tenfold": "in ten times the corpus, extrapolated",
}
_STRESS = re.compile(r"(.+)_(retention|interaction)")
_STRESS_TITLES = {"retention": "Retention", "interaction": "Relative retention"}
_STRESS_LABELS = {
    "typos": "typing errors",
    "farthest_quarter": "farthest quarter",
    "rarest_tenth": "rarest tenth",
    "few_shot": "few-shot classification",
}
_NOISE = re.compile(r"noise_([\d.]+)")


def metric_title(name: str) -> str:
    """Title of a metric by its name in the report; the kind of `name:kind` is put behind.

    Unknown names stay as they are, with spaces for underscores.
    """
    base, _, kind = name.partition(":")
    title = _base_title(base)
    return f"{title}: {kind}" if kind else title


def stress_label(stress: str) -> str:
    """Label of a perturbation or of a difficult part of the queries: "noise, cosine 0.99"."""
    if match := _NOISE.fullmatch(stress):
        return f"noise, cosine {match[1]}"
    return _STRESS_LABELS.get(stress, stress.replace("_", " "))


def describe_reason(reason: str) -> str:
    """Write the reason of a verdict with the title of its metric, which is its first word."""
    name, _, remainder = reason.partition(" ")
    return f"{metric_title(name)} {remainder}" if name.partition(":")[0] in _TITLES else reason


def metric_thresholds(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Map the thresholds of a report to the names of the metrics that they apply to."""
    metric_of = {
        "retention": "ndcg@10_retention",
        "overlap": "overlap_with_ties@10",
        "net_flips": "net_flips",
        "excess_fragility": "excess_fragility",
    }
    return {metric: thresholds[key] for key, metric in metric_of.items() if key in thresholds}


def _base_title(name: str) -> str:
    if name in _TITLES:
        return _TITLES[name]
    if match := _SHORTLIST_RECALL.fullmatch(name):
        return f"Relevant documents in a shortlist of {match[1]} {_CORPUS_SIZES[match[2]]}"
    if match := _SHORTLIST_RETENTION.fullmatch(name):
        return f"Retention of relevant documents in the shortlist {_CORPUS_SIZES[match[1]]}"
    if match := _STRESS.fullmatch(name):
        return f"{_STRESS_TITLES[match[2]]} ({stress_label(match[1])})"
    return name.replace("_", " ")
