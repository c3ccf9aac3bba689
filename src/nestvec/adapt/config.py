"""How an adaptor is trained: a few numbers, frozen."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nestvec.errors import InputError

Start = Literal["rotation", "neighbours", "identity"]
Teacher = Literal["chosen", "both", "stretched", "vectors", "start"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an adaptor is made of and what it is trained for: docs/how-to/adapting.md has losses.

    The defaults are what did best in `benchmarks/adapt.py`; `Recipe.paper()` is the paper's.
    """

    start: Start = "rotation"
    """Begin at the principal directions, at the neighbour whitening, or, as the paper does, at the
    identity."""
    nearest: int = 3
    shrinkage: float = 2.0
    """Of the neighbour whitening: how many neighbours, and how far it is drawn to none at all;
    half as far with pairs."""
    teacher: Teacher = "chosen"
    """Whose full-width ranking is to be kept: by the mean of the vectors' own cosines and those
    after the neighbour whitening; by those of the principal directions, strong ones stretched; by
    their own alone; or by those of where it starts. *chosen*: one of the first two, by what the
    pairs say; without pairs the first."""
    orthogonal: bool = True
    """A rotation, whose scores at full width stay what they were; else any linear map."""
    hidden: int = 0
    """Width of the hidden layer of the residual; 0: the map is linear, and so a plain matrix."""
    distillation: float = 1.0
    """Weight of keeping the full-width ranking at every size."""
    labels: float = 0.5
    """Of what a judged query is to find, this share are its judgements, the rest the full-width
    ranking."""
    topk: float = 0.0
    pairwise: float = 0.0
    reconstruction: float = 0.0
    ranking: float = 0.0
    """Weights of the paper's four losses; `ranking` asks for pairs."""
    temperature: float = 0.05
    """Of the full-width ranking as a distribution over documents."""
    neighbours: int = 100
    """How many of each row's nearest `topk` looks at."""
    noise: float = 0.0
    """Rows that stand for queries are moved by up to this length in a random direction."""
    batch: int = 128
    candidates: int = 2048
    """Documents that each batch is ranked against."""
    steps: int = 600
    patience: int = 10
    """Stop after so many looks at the held-out queries without a better one; a look is a tenth of
    the steps."""
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        for name, known in (("start", get_args(Start)), ("teacher", get_args(Teacher))):
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise InputError(f"{name}={given!r} is unknown; use one of {', '.join(known)}")
        for name in ("batch", "candidates", "steps", "patience", "neighbours", "nearest"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} is below 1; use 1 or more")
        for name in ("temperature", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)} is not above 0")
        if min(self.weights) < 0 or not max(self.weights) > 0:
            raise InputError("no loss has a weight above 0, or one is negative; give one a weight")
        if self.orthogonal and self.hidden:
            raise InputError(
                f"hidden={self.hidden} cannot be orthogonal; use 0, or orthogonal=False"
            )
        if not 0 <= self.labels <= 1 or min(self.hidden, self.noise, self.shrinkage) < 0:
            raise InputError(
                "labels is a share from 0 to 1; hidden, noise and shrinkage are at least 0"
            )

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of all losses."""
        return (
            self.distillation, self.topk, self.pairwise, self.reconstruction, self.ranking
        )  # fmt: skip

    @classmethod
    def keeping(cls) -> "Recipe":
        """A rotation that keeps the vectors' own ranking and stops early: usual without pairs.

        What `Recipe()` does better, by judgements, nobody can show without any.
        """
        return cls(teacher="vectors", steps=150, learning_rate=1e-3)

    @classmethod
    def paper(cls, dim: int) -> "Recipe":
        """Matryoshka-Adaptor (2407.20243, table 5), all weights 1; its network is not told."""
        return cls(
            start="identity", teacher="vectors", orthogonal=False, hidden=dim, distillation=0.0,
            labels=0.0, topk=1.0, pairwise=1.0, reconstruction=1.0, ranking=1.0, batch=128,
            candidates=50_000, steps=5_000, patience=1, learning_rate=1e-3,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
