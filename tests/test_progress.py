"""Progress of long work: a bar for people, and lines for logs."""

import pytest

from nestvec.progress import _lines, bar


@pytest.fixture
def clock():
    """A clock that a test sets: `clock.now = 3`."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def test_a_line_comes_each_half_minute_and_says_how_long_it_takes(clock):
    lines = []
    advance = _lines("Encoding", 5000, lines.append, clock)
    for _ in range(6):
        clock.now += 10
        advance(200)
    assert lines == [
        "Encoding: 600 of 5,000 (12%), 220 s left", "Encoding: 1,200 of 5,000 (24%), 190 s left",
    ]  # fmt: skip


def test_short_work_writes_nothing(clock, capsys):
    with bar("Encoding", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_total_that_was_too_low_is_no_error(clock):
    lines = []
    advance = _lines("Encoding", 10, lines.append, clock)
    clock.now = 31
    advance(12)
    assert lines == ["Encoding: 12 of 10 (120%), 0 s left"]
