"""Masked language modelling: the masks are those of BERT, and every prefix is trained."""

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
    return pairs[0].documents, pairs[1].documents


def test_a_resumed_run_ends_with_the_bits_of_one_never_stopped(tmp_path, texts, stopped, same_bits):
    full = train_mlm(texts, CONFIG, tmp_path / "full")
    stopped(lambda listen: train_mlm(texts, CONFIG, tmp_path / "resumed", listen), 9)
    assert train_mlm(texts, CONFIG, tmp_path / "resumed").history == full.history
    same_bits(tmp_path / "full", tmp_path / "resumed")


def test_every_prefix_learns_and_the_model_encodes(tmp_path):
    # A word follows from its neighbours alone.
    texts = tuple(" ".join([word] * 8) for word in ("bak", "del", "fim", "gun") * 16)
    loop = replace(LOOP, steps=120, batch_size=16, evaluate_every=120)
    config = MlmConfig(dims=(4, 32), model=replace(BERT, hidden=32), mask_share=0.3, loop=loop)
    trained = train_mlm((texts, texts[:16]), config, tmp_path / "run")
    assert list(trained.best.scores) == ["4", "32"]
    assert min(trained.best.scores.values()) > 0.5
    encoder = open_encoder(str(trained.model), device="cpu")
    assert encoder.encode(["bak bal"]).shape == (1, 32)


def test_equal_texts_make_equal_pieces_with_equal_numbers():
    # Of letters at random every merge has ties, and hash tables settle none twice the same way.
    draw = random.Random(0)
    texts = [" ".join("".join(draw.sample("abcdefghij", 4)) for _ in range(6)) for _ in range(60)]
    tokenizers = [BERT.tokenizer(texts) for _ in range(3)]
    assert len(tokenizers[0]) == 150
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab() == tokenizers[2].get_vocab()
    assert tokenizers[0].tokenize("##a [MASK] É z") == [
        "[UNK]",
        "[UNK]",
        "a",
        "[MASK]",
        "e",
        "[UNK]",
    ]
    assert tokenizers[0].convert_tokens_to_ids(["[PAD]", "[MASK]"]) == [0, 4]
    assert len(tokenizers[0].all_special_ids) == 5


def test_the_alphabet_is_the_commonest_letters_also_inside_words(monkeypatch):
    monkeypatch.setattr(wordpiece, "_MAX_LETTERS", 3)
    known = set(wordpiece.learn(["ab ab ac ac ca da"], 10).get_vocab())
    assert known >= {"a", "b", "c", "##a", "##b", "##c"}
    assert not known & {"d", "##d"}


def test_masks_follow_bert():
    tokenizer = BERT.tokenizer(["one two three four five six seven"] * 5)
    words = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    tokens = torch.tensor(words).repeat(4000 // len(words) + 1)[:4000].reshape(100, 40)
    tokens[:, 0], tokens[:, -5:] = tokenizer.cls_token_id, tokenizer.pad_token_id
    masked, labels = mask_tokens(tokens, tokenizer, 0.4, torch.Generator().manual_seed(0))
    is_masked = labels != -100
    assert torch.equal(labels[is_masked], tokens[is_masked])
    assert torch.equal(masked[~is_masked], tokens[~is_masked])
    assert not is_masked[:, 0].any()
    assert not is_masked[:, -5:].any()
    share = is_masked[:, 1:-5].double().mean()
    mask_token_share = (masked[is_masked] == tokenizer.mask_token_id).double().mean()
    unchanged_share = (masked[is_masked] == tokens[is_masked]).double().mean()
    # n = 3,400 and 1,360: five standard errors.
    assert share == pytest.approx(0.4, abs=0.042)
    assert mask_token_share == pytest.approx(0.8, abs=0.056)
    assert unchanged_share == pytest.approx(0.1 + 0.1 / len(tokenizer), abs=0.044)


def test_inputs_that_do_not_fit_are_refused(tmp_path, texts):
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
