"""WordPiece vocabularies learned from texts: equal texts give equal pieces with equal numbers.

By itself, `tokenizers` numbers the letters inside words in the order of a hash table that differs
from process to process, and breaks ties between merges by these numbers. A resumed run would read
its texts by other numbers than those its embeddings were trained for.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from nestvec.extras import require

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_MAX_LETTERS = 1000
"""The size of the alphabet, commonest letters first; words with others are unknown."""


def learn(texts: Sequence[str], size: int) -> Any:
    """Train a lower-casing tokenizer of at most `size` pieces; letters count even above that."""
    kind = require("tokenizers", "train").BertWordPieceTokenizer
    pieces = kind(lowercase=True)
    letters, inner_letters = _letters(pieces, texts)
    # Special tokens are numbered first and in order, so that no number depends on a hash table.
    pieces.train_from_iterator(
        texts,
        vocab_size=size,
        special_tokens=[*_SPECIAL, *(f"##{letter}" for letter in inner_letters)],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    # From the pieces alone, so that letters inside words do not stay special.
    return kind(vocab=pieces.get_vocab(), lowercase=True)


def _letters(pieces: Any, texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find the commonest letters, and those of them that occur inside words, both sorted."""
    normalize, split = pieces.normalizer.normalize_str, pieces.pre_tokenizer.pre_tokenize_str
    words = Counter(word for text in texts for word, _ in split(normalize(text)))
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for letter in word:
            counts[letter] += times
    alphabet = sorted(counts, key=lambda letter: (-counts[letter], letter))[:_MAX_LETTERS]
    inner_letters = {letter for word in words for letter in word[1:]}
    return sorted(alphabet), sorted(inner_letters.intersection(alphabet))
