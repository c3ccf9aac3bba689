"""Word pieces learned from texts: equal texts give equal pieces with equal numbers.

Left alone, `tokenizers` numbers the letters inside words in the order of a hash table that differs
from process to process, and settles ties of what to merge by these numbers. A run that was taken up
again would read its texts by other numbers than those its embeddings were trained for.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from nestvec.extras import require

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_LETTERS = 1000
"""The commonest are kept; words with others are unknown."""


def learn(texts: Sequence[str], size: int) -> Any:
    """A tokenizer of at most `size` pieces or all letters, lower-cased as BERT's."""
    kind = require("tokenizers", "train").BertWordPieceTokenizer
    pieces = kind(lowercase=True)
    letters, inner = _letters(pieces, texts)
    # Special tokens are numbered first and in order, so that no order of a table is left to chance.
    pieces.train_from_iterator(
        texts,
        vocab_size=size,
        special_tokens=[*_SPECIAL, *(f"##{letter}" for letter in inner)],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    # From the pieces alone: letters inside words are not to stay special.
    return kind(vocab=pieces.get_vocab(), lowercase=True)


def _letters(pieces: Any, texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The commonest letters, and those of them that occur inside words, in order."""
    normal, split = pieces.normalizer.normalize_str, pieces.pre_tokenizer.pre_tokenize_str
    words = Counter(word for text in texts for word, _ in split(normal(text)))
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for letter in word:
            counts[letter] += times
    kept = sorted(counts, key=lambda letter: (-counts[letter], letter))[:_LETTERS]
    inside = {letter for word in words for letter in word[1:]}
    return sorted(kept), sorted(inside.intersection(kept))
