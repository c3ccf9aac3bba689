"""Other people's error messages, as a part of ours."""


def one_line(message: object) -> str:
    """The first 200 characters on one line; for an error without words, its type."""
    text = " ".join(str(message).split()) or type(message).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
