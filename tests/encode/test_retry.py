import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.encode.retry import named_wait_s, parse_duration_s


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, seconds, millis):
    parsed = parse_duration_s(f"{hours}h{minutes}m{seconds}s{millis}ms")
    assert parsed == pytest.approx(hours * 3600 + minutes * 60 + seconds + millis / 1000)


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 s", "1e3", "nan", "٣"])
def test_what_is_no_duration_asks_for_nothing(text):
    assert parse_duration_s(text) is None
    assert named_wait_s({"retry-after": text}, now=0.0) is None


def test_a_date_that_has_passed_asks_for_no_wait():
    assert named_wait_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, now=2e9) == 0


def test_a_date_without_a_zone_is_in_utc():
    date = "Thu, 01 Jan 1970 00:01:40 -0000"
    assert named_wait_s({"retry-after": date}, now=0.0) == 100


def test_the_longer_of_two_spent_limits_counts():
    spent = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert named_wait_s(spent, now=0.0) == 360
