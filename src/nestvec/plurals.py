"""Numbers with their nouns, for messages and tables."""


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Write a number with its noun in the right form; the plural has an s unless it is passed.

    >>> count_of(1, "row"), count_of(4009, "row"), count_of(2, "query", "queries")
    ('1 row', '4,009 rows', '2 queries')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
