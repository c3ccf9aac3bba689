"""`AdaptorConfig`: settings of the training of an adaptor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nestvec.deprecation import field_names_before, renamed_fields, warn_renamed
from nestvec.engine.validators import check_at_least, check_positive
from nestvec.errors import InputError

Initialization = Literal["pca", "neighbour_whitening", "identity"]
Teacher = Literal["auto", "average", "stretched_pca", "vectors", "initialization"]

_OLD_VALUES = {
    "initialization": {"rotation": "pca", "neighbours": "neighbour_whitening"},
    "teacher": {
        "chosen": "auto",
        "both": "average",
        "stretched": "stretched_pca",
        "start": "initialization",
    },
}
_OLD_NAMES = {
    "start": "initialization",
    "nearest": "whitening_neighbours",
    "distillation": "distillation_weight",
    "labels": "label_share",
    "topk": "topk_weight",
    "pairwise": "pairwise_weight",
    "reconstruction": "reconstruction_weight",
    "ranking": "ranking_weight",
    "neighbours": "topk_neighbours",
    "noise": "query_noise",
    "batch": "batch_size",
    "candidates": "n_candidates",
}
_COUNTS = (
    "batch_size", "n_candidates", "steps", "patience", "topk_neighbours", "whitening_neighbours"
)  # fmt: skip


@renamed_fields(_OLD_NAMES)
@dataclass(frozen=True, slots=True)
class AdaptorConfig:
    """Settings of the training of an adaptor; docs/how-to/adapting.md has its losses.

    The defaults did best in `benchmarks/adapt.py`; `AdaptorConfig.paper()` has the paper's values.
    """

    initialization: Initialization = "pca"
    """The map at which training begins: the principal directions, the neighbour whitening, or, as
    in the paper, the identity."""
    whitening_neighbours: int = 3
    """Nearest neighbours of each row that the neighbour whitening looks at."""
    shrinkage: float = 2.0
    """Pull of the neighbour whitening towards no whitening at all; half of it with pairs."""
    teacher: Teacher = "auto"
    """The full-width ranking to keep, by cosines: *average* of the vectors themselves and the
    vectors after neighbour whitening; *stretched_pca* of the principal directions, stretched by
    their strength; *vectors*; or the *initialization*. *auto* chooses one of the first two by the
    pairs, and the first without pairs."""
    orthogonal: bool = True
    """Train a rotation, which preserves scores at full width; else any linear map."""
    hidden: int = 0
    """Width of the hidden layer of the residual; 0: the map is a plain matrix."""
    distillation_weight: float = 1.0
    """Weight of the loss that keeps the full-width ranking at every prefix."""
    label_share: float = 0.5
    """Share of the judgments in the target of a judged query; the full-width ranking is the
    rest."""
    topk_weight: float = 0.0
    """Weight of the paper's loss on the cosines of each row's nearest neighbours."""
    pairwise_weight: float = 0.0
    """Weight of the paper's loss on the cosines of all pairs of rows."""
    reconstruction_weight: float = 0.0
    """Weight of the paper's loss on the distance from the initialization."""
    ranking_weight: float = 0.0
    """Weight of the paper's loss on the order of judged documents; needs pairs."""
    temperature: float = 0.05
    """Temperature of the full-width ranking as a distribution over documents."""
    topk_neighbours: int = 100
    """Nearest neighbours of each row that the top-k loss looks at."""
    query_noise: float = 0.0
    """Largest distance by which rows that stand for queries are moved, in random directions."""
    batch_size: int = 128
    n_candidates: int = 2048
    """Documents that the queries of a batch are ranked against."""
    steps: int = 600
    patience: int = 10
    """Stop after so many evaluations without a better one; there are ten in all the steps."""
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        self._check_choice("initialization", get_args(Initialization))
        self._check_choice("teacher", get_args(Teacher))
        check_at_least(1, **self._settings(*_COUNTS))
        check_at_least(0, **self._settings("hidden", "query_noise", "shrinkage"))
        check_positive(**self._settings("temperature", "learning_rate"))
        if min(self.weights) < 0 or not max(self.weights) > 0:
            raise InputError("no loss has a weight above 0, or one is negative; give one a weight")
        if self.orthogonal and self.hidden:
            raise InputError(
                f"hidden={self.hidden} cannot be orthogonal; use 0, or orthogonal=False"
            )
        if not 0 <= self.label_share <= 1:
            raise InputError(f"label_share={self.label_share} is no share; use 0 to 1")

    def _settings(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value in _OLD_VALUES[name]:
            new = _OLD_VALUES[name][value]
            warn_renamed(f"{name}={value!r}", f"{name}={new!r}", stacklevel=5)
            object.__setattr__(self, name, new)
        elif value not in choices:
            raise InputError(f"{name}={value!r} is unknown; use one of {', '.join(choices)}")

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of all losses."""
        return (
            self.distillation_weight,
            self.topk_weight,
            self.pairwise_weight,
            self.reconstruction_weight,
            self.ranking_weight,
        )

    @classmethod
    def unsupervised(cls) -> "AdaptorConfig":
        """Preserve full-width rankings by a rotation, and stop early: the default without pairs.

        Only relevance judgments, which are missing, could show that another teacher is better.
        """
        return cls(teacher="vectors", steps=150, learning_rate=1e-3)

    @classmethod
    def keeping(cls) -> "AdaptorConfig":
        """Call `unsupervised`, by its old name."""
        warn_renamed("AdaptorConfig.keeping", "AdaptorConfig.unsupervised")
        return cls.unsupervised()

    @classmethod
    def paper(cls, dim: int) -> "AdaptorConfig":
        """Give the values of Matryoshka-Adaptor (2407.20243, table 5), all weights 1.

        The paper does not tell its network; this one has a hidden layer of width `dim`.
        """
        return cls(
            initialization="identity", teacher="vectors", orthogonal=False, hidden=dim,
            distillation_weight=0.0, label_share=0.0, topk_weight=1.0, pairwise_weight=1.0,
            reconstruction_weight=1.0, ranking_weight=1.0, batch_size=128, n_candidates=50_000,
            steps=5_000, patience=1, learning_rate=1e-3,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Give all settings as JSON values."""
        return asdict(self)


def with_new_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rename old names and values in the settings that a file holds."""
    renamed = field_names_before(AdaptorConfig)
    settings = {renamed.get(name, name): value for name, value in config.items()}
    for name, values in _OLD_VALUES.items():
        if name in settings:
            settings[name] = values.get(settings[name], settings[name])
    return settings
