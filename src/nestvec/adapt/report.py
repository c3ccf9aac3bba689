"""`FitReport`: what held-out queries showed of an adaptor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nestvec.statistics import Estimate

# Statistics are imported where a report is read: `import nestvec` is fast.

Verdict = Literal["ADAPTED", "ROTATION", "FORCED"]


@dataclass(frozen=True, slots=True)
class AtSize:
    """Held-out quality at one size: by PCA alone, by the adaptor, and what that gains."""

    dims: int
    rotation: "Estimate"
    adaptor: "Estimate"
    gain: "Estimate"


@dataclass(frozen=True, slots=True)
class FitReport:
    """What was trained, on what, and what queries that it never saw showed."""

    verdict: Verdict
    """ADAPTED: it beats PCA; ROTATION: it does not, so it was left out; FORCED: it does
    not, and was asked for all the same."""
    metric: str
    """"ndcg@10" by judgements, or "overlap@10" with the full-width ranking."""
    gain: "Estimate"
    """Mean gain over PCA, all sizes together."""
    bound: float
    """The gain is at least this, at `confidence`."""
    confidence: float
    sizes: tuple[AtSize, ...]
    full: AtSize
    """At full width, where PCA is what the vectors were."""
    rows: int
    queries: int
    """Trained with; `gain.n` were held out."""
    pairs: int
    steps: int
    seconds: float
    seed: int
    recipe: Mapping[str, Any]
    history: tuple[tuple[int, float], ...]
    """Step, and the metric on the held-out queries that early stopping goes by."""

    @property
    def said(self) -> str:
        """The verdict in a sentence."""
        shown = (
            f"{self.metric} {self.gain.value:+.4f} over PCA on {self.gain.n} held-out "
            f"queries, at least {self.bound:+.4f} at {self.confidence:.0%} confidence"
        )
        return {
            "ADAPTED": f"the adaptor is better: {shown}",
            "ROTATION": f"the adaptor was not shown to be better ({shown}): this is PCA",
            "FORCED": f"kept as asked, although not shown to be better: {shown}",
        }[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "FitReport":
        """The report that `to_json` told of."""
        from nestvec.statistics import Estimate

        sizes = tuple(_at_size(one) for one in told["sizes"])
        return cls(
            **{
                **told, "sizes": sizes, "full": _at_size(told["full"]),
                "gain": Estimate(*told["gain"]),
                "history": tuple((int(s), float(v)) for s, v in told["history"]),
            }
        )  # fmt: skip


def _at_size(told: Mapping[str, Any]) -> AtSize:
    from nestvec.statistics import Estimate

    return AtSize(told["dims"], *(Estimate(*told[n]) for n in ("rotation", "adaptor", "gain")))
