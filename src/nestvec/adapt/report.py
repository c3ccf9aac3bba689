"""`FitReport`: the scores of an adaptor on held-out queries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from nestvec.adapt.config import with_new_names
from nestvec.deprecation import renamed_fields, warn_renamed

if TYPE_CHECKING:
    from nestvec.statistics import Estimate

# Statistics are imported where a report is read: `import nestvec` is fast.

FitVerdict = Literal["ADAPTED", "ROTATION", "FORCED"]

_FILE_KEYS = {
    "gain_lower_bound": "bound",
    "at_dims": "sizes",
    "at_full_width": "full",
    "n_documents": "rows",
    "n_queries": "queries",
    "n_pairs": "pairs",
    "duration_s": "seconds",
    "config": "recipe",
}
"""Keys that files of adaptors have for fields whose names have changed since."""


@renamed_fields({"rotation": "pca"})
@dataclass(frozen=True, slots=True)
class ScoresAtDims:
    """Held-out scores of PCA and of the adaptor at some dims, and the gain over PCA."""

    dims: int
    pca: "Estimate"
    adaptor: "Estimate"
    gain: "Estimate"


@renamed_fields({old: new for new, old in _FILE_KEYS.items()})
@dataclass(frozen=True, slots=True)
class FitReport:
    """The data and the settings of a fit, and its scores on queries that it never saw."""

    verdict: FitVerdict
    """ADAPTED: the adaptor beats PCA; ROTATION: it does not, so PCA was taken; FORCED: it does
    not, and was taken with `force`."""
    metric: str
    """"ndcg@10" by relevance judgments, or "overlap@10" with the full-width ranking."""
    gain: "Estimate"
    """Mean gain over PCA, over all nesting dims."""
    gain_lower_bound: float
    """The gain is at least this, at `confidence`."""
    confidence: float
    at_dims: tuple[ScoresAtDims, ...]
    at_full_width: ScoresAtDims
    """At full width, where PCA changes nothing."""
    n_documents: int
    n_queries: int
    """Training queries; `gain.n` were held out to test the adaptor."""
    n_pairs: int
    steps: int
    duration_s: float
    seed: int
    config: Mapping[str, Any]
    """The settings, as `AdaptorConfig.to_json` gives them."""
    history: tuple[tuple[int, float], ...]
    """Step and score on the validation queries, by which training stops early."""

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        gain = (
            f"{self.metric} {self.gain.value:+.4f} over PCA on {self.gain.n} held-out "
            f"queries, at least {self.gain_lower_bound:+.4f} at {self.confidence:.0%} confidence"
        )
        return {
            "ADAPTED": f"the adaptor is better: {gain}",
            "ROTATION": f"the adaptor was not shown to be better ({gain}): this is PCA",
            "FORCED": f"taken by force, although not shown to be better: {gain}",
        }[self.verdict]

    @property
    def said(self) -> str:
        """The old name of `summary`."""
        warn_renamed("FitReport.said", "FitReport.summary")
        return self.summary

    def to_json(self) -> dict[str, Any]:
        """Give all fields as JSON values."""
        return asdict(self)

    def to_notes(self) -> dict[str, Any]:
        """Give all fields as JSON values, by the keys that files have for them."""
        notes = {_FILE_KEYS.get(name, name): value for name, value in asdict(self).items()}
        notes["sizes"] = [_scores_to_notes(scores) for scores in self.at_dims]
        notes["full"] = _scores_to_notes(self.at_full_width)
        return notes

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> "FitReport":
        """Read a report back that `to_notes` gave."""
        from nestvec.statistics import Estimate

        names = {key: name for name, key in _FILE_KEYS.items()}
        fields = {names.get(key, key): value for key, value in notes.items()}
        return cls(
            **{
                **fields,
                "at_dims": tuple(_scores_from_notes(scores) for scores in notes["sizes"]),
                "at_full_width": _scores_from_notes(notes["full"]),
                "gain": Estimate(*notes["gain"]),
                "config": with_new_names(notes["recipe"]),
                "history": tuple((int(step), float(score)) for step, score in notes["history"]),
            }
        )


def _scores_to_notes(scores: ScoresAtDims) -> dict[str, Any]:
    return {
        "dims": scores.dims,
        "rotation": scores.pca,
        "adaptor": scores.adaptor,
        "gain": scores.gain,
    }


def _scores_from_notes(notes: Mapping[str, Any]) -> ScoresAtDims:
    from nestvec.statistics import Estimate

    estimates = (Estimate(*notes[name]) for name in ("rotation", "adaptor", "gain"))
    return ScoresAtDims(notes["dims"], *estimates)
