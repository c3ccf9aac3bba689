"""Masked language modelling: what is masked, and that every size of it is trained."""

import random
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from nestvec.encode import open_encoder  # noqa: E402
from nestvec.errors import DimsError, InputError  # noqa: E402
from nestvec.train import Loop, MlmConfig, train_mlm  # noqa: E402
from nestvec.train.models import wordpiece  # noqa: E402
from nestvec.train.models.bert import Bert  # noqa: E402
from nestvec.train.recipes.mlm import TextFile, mask_tokens  # noqa: E402

BERT = Bert(hidden=16, layers=1, heads=2, vocabulary=150, max_tokens=12)
LOOP = Loop(steps=10, batch_size=8, learning_rate=0.01, evaluate_every=4)
CONFIG = MlmConfig(dims=(4, 16), model=BERT, loop=LOOP)


@pytest.fixture
def texts(pairs):
    return pairs[0].right, pairs[1].right


def test_a_run_taken_up_again_ends_with_the_bits_of_one_never_stopped(
    tmp_path, texts, stopped, same_bits
):
    whole = train_mlm(texts, CONFIG, tmp_path / "whole")
    stopped(lambda listen: train_mlm(texts, CONFIG, tmp_path / "again", listen), 9)
    assert train_mlm(texts, CONFIG, tmp_path / "again").history == whole.history
    same_bits(tmp_path / "whole", tmp_path / "again")


def test_every_size_learns_and_the_model_encodes(tmp_path):
    # What a word is follows from its neighbours alone.
    texts = tuple(" ".join([word] * 8) for word in ("bak", "del", "fim", "gun") * 16)
    loop = replace(LOOP, steps=120, batch_size=16, evaluate_every=120)
    config = MlmConfig(dims=(4, 32), model=replace(BERT, hidden=32), masked=0.3, loop=loop)
    trained = train_mlm((texts, texts[:16]), config, tmp_path / "run")
    assert list(trained.best.scores) == ["4", "32"]
    assert min(trained.best.scores.values()) > 0.5
    encoder = open_encoder(str(trained.model), device="cpu")
    assert encoder.encode(["bak bal"]).shape == (1, 32)


def test_equal_texts_make_equal_pieces_with_equal_numbers():
    # Of letters at random every merge has ties, and hash tables settle none twice the same way.
    draw = random.Random(0)
    texts = [" ".join("".join(draw.sample("abcdefghij", 4)) for _ in range(6)) for _ in range(60)]
    made = [BERT.tokenizer(texts) for _ in range(3)]
    assert len(made[0]) == 150
    assert made[0].get_vocab() == made[1].get_vocab() == made[2].get_vocab()
    assert made[0].tokenize("##a [MASK] É z") == ["[UNK]", "[UNK]", "a", "[MASK]", "e", "[UNK]"]
    assert made[0].convert_tokens_to_ids(["[PAD]", "[MASK]"]) == [0, 4]
    assert len(made[0].all_special_ids) == 5


def test_the_commonest_letters_are_kept_and_those_inside_words_are_pieces_too(monkeypatch):
    monkeypatch.setattr(wordpiece, "_LETTERS", 3)
    known = set(wordpiece.learn(["ab ab ac ac ca da"], 10).get_vocab())
    assert known >= {"a", "b", "c", "##a", "##b", "##c"}
    assert not known & {"d", "##d"}


def test_masks_are_bert_s():
    tokenizer = BERT.tokenizer(["one two three four five six seven"] * 5)
    words = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    tokens = torch.tensor(words).repeat(4000 // len(words) + 1)[:4000].reshape(100, 40)
    tokens[:, 0], tokens[:, -5:] = tokenizer.cls_token_id, tokenizer.pad_token_id
    hidden, labels = mask_tokens(tokens, tokenizer, 0.4, torch.Generator().manual_seed(0))
    asked = labels != -100
    assert torch.equal(labels[asked], tokens[asked])
    assert torch.equal(hidden[~asked], tokens[~asked])
    assert not asked[:, 0].any()
    assert not asked[:, -5:].any()
    share = asked[:, 1:-5].double().mean()
    masked = (hidden[asked] == tokenizer.mask_token_id).double().mean()
    kept = (hidden[asked] == tokens[asked]).double().mean()
    # n = 3,400 and 1,360: five standard errors.
    assert share == pytest.approx(0.4, abs=0.042)
    assert masked == pytest.approx(0.8, abs=0.056)
    assert kept == pytest.approx(0.1 + 0.1 / len(tokenizer), abs=0.044)


def test_what_does_not_fit_is_refused(tmp_path, texts):
    with pytest.raises(InputError, match=r"model\.hidden=16"):
        replace(CONFIG, dims=(4, 8))
    with pytest.raises(DimsError, match="32"):
        replace(CONFIG, dims=(4, 32))
    with pytest.raises(InputError, match="0 held out"):
        train_mlm((texts[0], ()), CONFIG, tmp_path / "run")
    (tmp_path / "texts.txt").write_text("one\ntwo\nthree\n")
    with pytest.raises(InputError, match="held_out=3 of 3"):
        TextFile(str(tmp_path / "texts.txt"), held_out=3).read()
    train, held_out = TextFile(str(tmp_path / "texts.txt"), held_out=1).read()
    assert sorted((*train, *held_out)) == ["one", "three", "two"]
