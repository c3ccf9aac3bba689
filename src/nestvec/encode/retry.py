"""Waits between the attempts of a request to a busy server."""

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime

from nestvec.errors import InputError

# The durations of Go, which OpenAI writes in its rate-limit headers: "20ms", "1s", "6m0s".
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Retry:
    """The number of attempts of a request, and the waits between them.

    A wait that the server names is exactly observed; one longer than `longest_wait_s` is an error
    at once. Where it names none, the wait is drawn evenly from 0 to
    `first_wait_s · 2^(failures - 1)`, at most `longest_wait_s` ("full jitter": clients that failed
    together do not come back together). `sleep`, `clock` (seconds since 1970) and `rng` are
    replaceable, for tests and event loops.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"attempts={self.attempts} is below 1; use 1 for a single try")
        if self.first_wait_s < 0 or self.longest_wait_s < 0:
            raise InputError(
                f"first_wait_s={self.first_wait_s} and longest_wait_s={self.longest_wait_s} "
                "are times to wait; use 0 or more"
            )

    def backoff_s(self, failures: int) -> float:
        """Draw the wait after `failures` (1 or more) in a row."""
        return self.rng.uniform(
            0, min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failures - 1))
        )


def named_wait_s(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a reply's headers ask to wait, None if they ask for nothing.

    `Retry-After` (seconds or a date) goes first; else the reset time of each rate limit of which
    nothing remains, the longest of them. A header that cannot be read asks for nothing. Header
    names must be in lower case, or `headers` must not mind.
    """
    seconds = _retry_after_s(headers.get("retry-after", ""), now)
    if seconds is not None:
        return seconds
    resets = [
        parse_duration_s(headers.get(f"x-ratelimit-reset-{limit}", ""))
        for limit in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{limit}", "").strip() == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def _retry_after_s(text: str, now: float) -> float | None:
    seconds = parse_duration_s(text)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000" means UTC (RFC 5322, section 3.3)
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, moment.timestamp() - now)


def parse_duration_s(text: str) -> float | None:
    """Seconds from `"6m0s"`, `"20ms"` or plain `"12"`; None for anything else.

    >>> parse_duration_s("6m0s"), parse_duration_s("20ms"), parse_duration_s("soon")
    (360.0, 0.02, None)
    """
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return float(text)
    if not re.fullmatch(f"({_DURATION.pattern})+", text, re.ASCII):
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION.findall(text))
