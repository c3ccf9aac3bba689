"""A measured figure with its limit and the places that make it up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A number to be reported or, where it has a limit, to stay at or below it.

    `n` of `total` is where a share comes from. `places` lists what counts towards the value.
    """

    key: str
    title: str
    value: float
    limit: float | None = None
    n: int | None = None
    total: int | None = None
    places: tuple[str, ...] = ()

    @property
    def passed(self) -> bool | None:
        """True where the value is at most its limit, None where it has no limit."""
        return None if self.limit is None else self.value <= self.limit

    @property
    def shown(self) -> str:
        """Value for people: shares as percentages with their counts."""
        if self.total is None:
            return f"{self.value:g}"
        return f"{self.value:.1%} ({self.n} of {self.total})"

    @property
    def limit_shown(self) -> str:
        """Limit for people, in the value's unit."""
        if self.limit is None:
            return "–"
        return f"{self.limit:g}" if self.total is None else f"{self.limit:.0%}"


def share(
    key: str, title: str, places: list[str], total: int, limit: float | None = None
) -> Figure:
    """Share that the places are of `total` things; 0 of 0 is 0."""
    return Figure(key, title, len(places) / max(total, 1), limit, len(places), total, tuple(places))


def count(key: str, title: str, places: list[str], limit: float | None = None) -> Figure:
    """Number of places."""
    return Figure(key, title, len(places), limit, places=tuple(places))
