"""The metrics by their names in the report: what a reader calls them, and where they belong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nestvec.auditing.reporting.page import figures


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name in the report, and its name and meaning on the page."""

    name: str
    title: str
    meaning: str = ""
    is_share: bool = False

    def write(self, value: float) -> str:
        """The value as the first screen has it."""
        return figures.percent(value) if self.is_share else figures.number(value)


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that one section shows, those first that matter most."""

    id: str
    title: str
    lead: str
    metrics: Sequence[Metric]


_RETENTION = Metric(
    "ndcg@10_retention",
    "nDCG@10 kept",
    "Quality of the first ten by people's judgements; what full vectors reach is 100 %.",
    is_share=True,
)
_RECALL_KEPT = Metric(
    "recall@10_retention",
    "Recall@10 kept",
    "Relevant documents among the first ten, of those that full vectors find.",
    is_share=True,
)
_OVERLAP = Metric(
    "overlap_with_ties@10",
    "The same first ten",
    "Answers that full vectors give too; equals of the tenth count.",
    is_share=True,
)
_FRAGILITY = Metric(
    "excess_fragility",
    "Near misses against plain ones",
    "Below 1: telling near misses apart suffers more than telling random documents apart.",
)
_FLIPS = Metric(
    "net_flips",
    "Near misses lost, net",
    "Hard negatives that only full vectors get right, less those that only this size does.",
    is_share=True,
)
_SHORTLIST = Metric(
    "shortlist_95%",
    "Shortlist depth",
    "So many answers hold the whole true first ten, for 95 % of queries.",
)

RELEVANCE = Group(
    "relevance",
    "Relevance",
    "What is kept of the quality that people's judgements measure. Bands are 95 % intervals of "
    "the same queries before and after.",
    (
        _RETENTION,
        _RECALL_KEPT,
        Metric("recall@100_retention", "Recall@100 kept"),
        Metric("mrr@10_retention", "MRR@10 kept"),
        Metric("ndcg@10", "nDCG@10"),
        Metric("recall@10", "Recall@10"),
        Metric("recall@100", "Recall@100"),
        Metric("mrr@10", "MRR@10"),
        Metric("loss_p5", "nDCG@10 change that one query in twenty falls below"),
        Metric("large_losses", "Queries that lose more than 0.2 of nDCG@10"),
    ),
)
FIDELITY = Group(
    "fidelity",
    "Fidelity to the full vectors",
    "What is kept of the answers that full vectors give, right or wrong: no labels are needed. A "
    "shortlist depth says how many answers must be rescored to hold the whole true first ten.",
    (
        _OVERLAP,
        _SHORTLIST,
        Metric("shortlist_99%", "Shortlist depth for 99 % of queries"),
        Metric("overlap@10", "Overlap@10, ties not counted"),
        Metric("rbo", "Rank-biased overlap"),
        Metric("tau", "Kendall's τ-b"),
        Metric("inverse_ratio@10", "Nearness of what is found"),
        Metric("zero_overlap", "Queries with none of the first ten"),
        Metric("resolution", "Score gap that keeps its order (ε95)"),
        Metric("effective_rank", "Dimensions in use (effective rank)"),
        Metric("local_dimension", "Dimensions around a query (local)"),
        Metric("hub_skew", "Hubness (skewness)"),
    ),
)
HARD = Group(
    "hard-negatives",
    "Hard negatives",
    "Whether documents that only nearly answer are still told from those that do. Chance is 0.5 "
    "for a triplet. Excess fragility is what is kept on near misses over what is kept on random "
    "documents.",
    (
        Metric("triplet_accuracy", "Triplets in the right order"),
        _FRAGILITY,
        _FLIPS,
        Metric("triplet_retention", "Triplet accuracy kept"),
        Metric("group_accuracy", "Queries that beat all their near misses"),
        Metric("flip_loss", "Of what was right, lost"),
        Metric("retention_hard", "Kept on near misses"),
        Metric("retention_easy", "Kept on random documents"),
        Metric("rank_in_set", "Rank among the near misses"),
        Metric("margin_p5", "Margin, 5 % quantile"),
        Metric("margin_p25", "Margin, quarter"),
        Metric("margin_p50", "Margin, median"),
    ),
)
FEW_SHOT = Group(
    "few-shot",
    "Few-shot classification",
    "Whether classes of documents are still told apart by the nearest mean of five examples each, "
    "over random choices of up to five classes. The difference is that to the full vectors.",
    (
        Metric("few_shot_accuracy", "Few-shot accuracy"),
        Metric("few_shot_difference", "Few-shot accuracy, change"),
        Metric("few_shot_retention", "Few-shot accuracy kept"),
    ),
)
POISONING = Group(
    "poisoning",
    "Planted documents",
    "Ten documents are planted in the midst of half of the queries, as an attacker would who knows "
    "these. Success is the share of the other queries that find one among their first ten.",
    (
        Metric("attack_success", "Queries reached by planted documents"),
        Metric("attack_gain", "Queries reached beyond those by full vectors"),
    ),
)
GROUPS = (RELEVANCE, FIDELITY, HARD, FEW_SHOT, POISONING)

HEADLINES = (_RETENTION, _FRAGILITY, _OVERLAP, _RECALL_KEPT, _SHORTLIST)
"""The first screen has the first three of these that were measured."""

_TITLES = {metric.name: metric.title for group in GROUPS for metric in group.metrics} | {
    "recall@10_at_tenth": "Recall@10 in a tenth of the corpus",
    "recall@10_at_n": "Recall@10 in the corpus",
    "recall@10_at_tenfold": "Recall@10 in ten times the corpus, modelled",
    "retention_at_tenth": "Recall@10 kept in a tenth of the corpus",
    "retention_at_n": "Recall@10 kept in the corpus",
    "half_size": "Others among which half is lost",
    "slice_retention": "Kept in the slice",
    "slice_interaction": "Kept in the slice / kept in the rest",
}
_SHORTLIST_RECALL = re.compile(r"shortlist_recall@(\d+)_at_(tenth|n|tenfold)")
_PLACES = {
    "tenth": "in a tenth of the corpus",
    "n": "in the corpus",
    "tenfold": "in ten times the corpus, modelled",
}


def title_of(name: str) -> str:
    """A metric's name on the page; `name:kind` has its kind behind, unknown ones stay."""
    plain, _, kind = name.partition(":")
    title = _TITLES.get(plain, plain.replace("_", " "))
    if found := _SHORTLIST_RECALL.fullmatch(plain):
        title = f"Judged documents in a shortlist of {found[1]} {_PLACES[found[2]]}"
    return f"{title}: {kind}" if kind else title


def in_words(reason: str) -> str:
    """A reason for a verdict with its metric, the first word, by its title."""
    name, _, rest = reason.partition(" ")
    return f"{title_of(name)} {rest}" if name.partition(":")[0] in _TITLES else reason


def limits(thresholds: Mapping[str, float]) -> dict[str, float]:
    """The report's thresholds by the metrics that they are of."""
    of = {
        "retention": "ndcg@10_retention",
        "overlap": "overlap_with_ties@10",
        "net_flips": "net_flips",
        "excess_fragility": "excess_fragility",
    }
    return {metric: thresholds[name] for name, metric in of.items() if name in thresholds}
