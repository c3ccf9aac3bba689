"""Fine-tuning of a Sentence Transformers model so that every prefix finds documents."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nestvec.deprecation import renamed_fields
from nestvec.engine.checkpoint import RunFolder, fingerprint
from nestvec.engine.loop import Listener, TrainingResult, no_op, train_task
from nestvec.engine.schedule import Loop
from nestvec.engine.seeding import seeded_global_rng
from nestvec.errors import InputError
from nestvec.train.data.pairs import Pairs
from nestvec.train.evaluation.positive_ranks import ndcg_at_10
from nestvec.train.models.bert import Bert
from nestvec.train.models.towers import Pretrained, build_text_tower
from nestvec.train.recipes.contrastive import ContrastiveConfig, ContrastTask, Mining

_LOOP = Loop(steps=300, learning_rate=2e-5, weight_decay=0.01)


@renamed_fields({"measured": "eval_dims", "rotated": "init_pca", "at_once": "mini_batch_size"})
@dataclass(frozen=True, slots=True)
class TextConfig:
    """Settings of the recipe `text`: one model for queries and documents, and its training."""

    dims: tuple[int, ...] = (32, 64, 128, 256, 384)
    """The nesting dims. A single one is plain fine-tuning at that width."""
    eval_dims: tuple[int, ...] | None = None
    """The dims that are evaluated; None: those that are trained."""
    model: Pretrained | Bert = field(default_factory=Pretrained)
    init_pca: bool = False
    """Add a PCA rotation of the training texts before training: full width is unchanged, and
    prefixes begin with the principal directions."""
    weights: tuple[float, ...] | Literal["uniform", "front"] = "uniform"
    temperature: float = 0.05
    bidirectional: bool = False
    mini_batch_size: int | None = None
    """Texts to encode at a time (GradCache): large batches in little memory, at the price of one
    more forward pass."""
    guardrail: float = 0.0
    """Weight of the guardrail, which compares full width with the untrained model; try 1,000."""
    mining: Mining | None = None
    """Hard negatives mined at a prefix."""
    loop: Loop = _LOOP


def train_text(
    data: tuple[Pairs, Pairs], config: TextConfig, folder: Path, listen: Listener = no_op
) -> TrainingResult:
    """Fine-tune on training pairs and held-out pairs in `folder`, or resume the run there.

    The metric is nDCG@10 of held-out queries among all held-out documents, at each of the dims, by
    cosines of renormalised prefixes. `folder / "model"` then holds a Sentence Transformers model:
    load it with `truncate_dim`, or pass it to `nestvec encode --model`.
    """
    run_folder = RunFolder.for_run(folder, "text", config, pairs_fingerprint(data))
    return train_task(text_task(data, config), config.loop, run_folder, listen)


def text_task(data: tuple[Pairs, Pairs], config: TextConfig) -> ContrastTask:
    """Make the task of `train_text`: one tower for queries and documents."""
    train, held_out = data
    if not all(isinstance(pairs.queries, tuple) for pairs in data):
        raise InputError("train_text takes texts as queries; use train_clip for images")
    with seeded_global_rng(config.loop.seed, "model"):
        texts = (*train.queries, *train.documents)
        tower = build_text_tower(config.model, texts, None)
        tower = tower.with_pca_rotation(texts) if config.init_pca else tower
    contrastive = ContrastiveConfig(
        config.dims,
        config.weights,
        config.temperature,
        learn_temperature=False,
        bidirectional=config.bidirectional,
        mini_batch_size=config.mini_batch_size,
        guardrail=config.guardrail,
        mining=config.mining,
        eval_dims=tuple((dim, dim) for dim in sorted(config.eval_dims or config.dims)),
        metric="nDCG@10",
        measure=ndcg_at_10,
    )
    return ContrastTask(tower, tower, train, held_out, contrastive)


def pairs_fingerprint(data: tuple[Pairs, Pairs]) -> str:
    """Hash the pairs of a run, by which its checkpoint recognises them."""
    parts = [
        part
        for pairs in data
        for part in (pairs.queries, pairs.documents, pairs.positives, pairs.negatives)
    ]
    return fingerprint(*parts)
