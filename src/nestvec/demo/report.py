"""Report of the demo, in figures and in words."""

from dataclasses import dataclass
from pathlib import Path

from nestvec.demo.measure import Kind


@dataclass(frozen=True, slots=True)
class Result:
    """A search method with the quality of its hits and their cost."""

    name: str
    kind: Kind
    ndcg: float
    """Mean nDCG@10 against the relevance judgments."""
    recall: float
    """Mean recall@10 of exact search."""
    scan_bytes: float
    """Bytes that the first stage reads per vector."""
    read_bytes: float
    """Bytes read per query in all: cells, codes and full vectors."""
    time_us: float
    """Median over queries and rounds, one query at a time."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Figures that the demo measured on this machine, and where it left its files."""

    rows: int
    queries: int
    dim: int
    model: str
    rounds: int
    default_plan: str
    hot_bytes: int
    """Bytes that searches read again and again: codes and cells, not the full vectors."""
    call_us: float
    """Median time of a query that reads a single cell: the fixed cost of a query."""
    results: tuple[Result, ...]
    index: Path
    chart: Path

    def best(self, kind: Kind) -> Result:
        """Return the result of a kind with the highest nDCG@10; the first of equals."""
        return max((r for r in self.results if r.kind == kind), key=lambda r: r.ndcg)

    def fastest_equal_quality(self) -> Result:
        """Return the fastest plan whose nDCG@10 is, to three digits, at least the float scan's.

        The default plan where there is none.
        """
        min_ndcg = self.best("float scan").ndcg - 0.0005
        plans = (r for r in self.results if r.kind in ("codes", "codes, then full"))
        good = [r for r in plans if r.ndcg >= min_ndcg]
        return min([*good, self.best("default plan")], key=lambda r: r.time_us)

    def summary(self) -> tuple[str, ...]:
        """Summarise the savings, their cost and the effect of size, a sentence or two each."""
        exact, default = self.best("float scan"), self.best("default plan")
        codes, prefix = self.best("codes"), self.best("float prefix")
        fast = self.fastest_equal_quality()
        read = default.read_bytes / self.rows
        return (
            f"The default plan ({self.default_plan}) finds {default.recall:.2%} of the exact top "
            f"ten and reads {read:.0f} bytes per vector where the float scan reads "
            f"{exact.scan_bytes:,.0f}: {exact.read_bytes / default.read_bytes:.0f} times less. "
            f"nDCG@10 {_change(exact.ndcg, default.ndcg)}.",
            f"A query takes {default.time_us:.0f} µs, the float scan {exact.time_us:.0f} µs: "
            f"{_ratio(exact.time_us, default.time_us)}; {fast.name!r} takes {fast.time_us:.0f} µs "
            f"({_ratio(exact.time_us, fast.time_us)}) with nDCG@10 {fast.ndcg:.3f}.",
            f"Of nestvec's time, {self.call_us:.0f} µs go to any query, even one that reads a "
            f"single cell. In {self.rows:,} vectors, few enough for a processor's cache, that "
            "weighs much; the float scan's time grows with the vectors, that part does not.",
            f"Without any full vector, {codes.name} codes ({codes.scan_bytes:.0f} bytes each) "
            f"find {codes.recall:.1%}, and nDCG@10 {_change(exact.ndcg, codes.ndcg)}. The best "
            f"float prefix ({prefix.name}: {prefix.scan_bytes:,.0f} bytes) finds "
            f"{prefix.recall:.1%}; nDCG@10 {_change(exact.ndcg, prefix.ndcg)}.",
            f"The index has {self.hot_bytes / self.rows:.0f} hot bytes per vector (codes and "
            f"cells) and {4 * self.dim:,} on disk, read for reranking only.",
        )


def _change(old: float, new: float) -> str:
    if f"{old:.3f}" == f"{new:.3f}":
        return f"stays at {new:.3f}"
    return f"{'falls' if new < old else 'rises'} from {old:.3f} to {new:.3f}"


def _ratio(slow: float, fast: float) -> str:
    if fast <= slow:
        return f"{slow / fast:.1f} times as fast"
    return f"{fast / slow:.1f} times as slow"
