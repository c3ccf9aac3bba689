import base64
import random
import sys
from contextlib import contextmanager
from email.utils import formatdate

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nestvec.encode import Encoder, Limits, ModelInfo, OpenAIEncoder, Retry, open_encoder
from nestvec.encode.openai import split_batches
from nestvec.errors import DimsError, EncodeError, InputError, MissingExtraError

NOW = 1_700_000_000.0
TEXTS = ["one", "two", "three", "four", "five"]


class Waits:
    """Sleeps without sleeping: a clock that only waiting moves, and a list of the waits."""

    def __init__(self):
        self.now = NOW
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def retry(self, **options):
        return Retry(sleep=self.sleep, clock=lambda: self.now, rng=random.Random(0), **options)


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def encoder_of(server, waits, **options):
    options = {"dimensions": 8, "limits": Limits(requests=1), "retry": waits.retry(), **options}
    return OpenAIEncoder("toy", base_url=server.url, **options)


# What is asked, and what comes back


def test_rows_come_back_in_input_order_though_the_reply_is_shuffled(server, waits):
    rows = encoder_of(server, waits).encode(TEXTS)
    assert rows.dtype == np.float32
    assert_allclose(rows, server.rows(TEXTS), atol=1e-7)


def test_the_width_is_learnt_from_the_server_when_dimensions_are_left_out(server, waits):
    encoder = encoder_of(server, waits, dimensions=None)
    assert encoder.info == ModelInfo("openai:toy", None, 8, server.url)
    assert "dimensions" not in server.bodies[0]


def test_dimensions_are_passed_through(server, waits):
    encoder = encoder_of(server, waits, dimensions=3)
    assert_allclose(encoder.encode(TEXTS), server.rows(TEXTS, 3), atol=1e-7)
    assert [body["dimensions"] for body in server.bodies] == [3]
    assert encoder.info.dim == 3


def test_it_is_an_encoder_that_its_own_name_opens_again(server, waits):
    encoder = encoder_of(server, waits)
    again = open_encoder(encoder.info.name, base_url=encoder.info.base_url, dimensions=8)
    assert isinstance(encoder, Encoder)
    assert again.info == encoder.info


def test_no_texts_need_no_request(server, waits):
    assert encoder_of(server, waits).encode([]).shape == (0, 8)
    assert server.bodies == []


def test_rows_are_of_unit_length_whatever_the_server_sends(server, waits):
    def stretch(reply):
        return {
            "data": [{**e, "embedding": [1e30 * x for x in e["embedding"]]} for e in reply["data"]]
        }

    server.then(edit=stretch)
    assert_allclose(encoder_of(server, waits).encode(TEXTS), server.rows(TEXTS), atol=1e-6)


def test_base64_vectors_are_understood(server, waits):
    def pack(reply):
        for entry in reply["data"]:
            raw = np.asarray(entry["embedding"], dtype="<f4").tobytes()
            entry["embedding"] = base64.b64encode(raw).decode()
        return reply

    server.then(edit=pack)
    assert_allclose(encoder_of(server, waits).encode(TEXTS), server.rows(TEXTS), atol=1e-7)


def test_entries_without_index_are_taken_in_order(server, waits):
    def unnumber(reply):
        return {"data": [{"embedding": e["embedding"]} for e in reply["data"][::-1]]}

    server.then(edit=unnumber)
    assert_allclose(encoder_of(server, waits).encode(TEXTS), server.rows(TEXTS), atol=1e-7)


@pytest.mark.parametrize("requests", [1, 4])
def test_many_batches_at_a_time_give_the_same_rows_as_one(server, waits, requests):
    texts = [f"text {i}" for i in range(23)]
    encoder = encoder_of(server, waits, limits=Limits(texts=2, requests=requests))
    assert_allclose(encoder.encode(texts), server.rows(texts), atol=1e-7)
    assert len(server.bodies) == 12


def test_progress_counts_every_text_once(server, waits):
    counts = []

    @contextmanager
    def progress(description, total):
        counts.append(-total)
        yield counts.append

    encoder_of(server, waits, limits=Limits(texts=2)).encode(TEXTS, progress)
    assert counts == [-5, 2, 2, 1]


def test_batches_keep_both_limits_and_a_text_above_them_goes_alone():
    texts = ["aa", "bb", "cc", "dddddddd", "e", "f", "g"]
    batches = list(split_batches(texts, Limits(texts=3, chars=5)))
    assert batches == [["aa", "bb"], ["cc"], ["dddddddd"], ["e", "f", "g"]]


# Keys


def test_the_key_comes_from_the_named_variable(server, waits, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", " secret-1 \n")
    encoder_of(server, waits, key_variable="OTHER_KEY").encode(["one"])
    assert server.keys == ["Bearer secret-1"]


def test_a_server_without_keys_needs_no_variable(server, waits):
    encoder_of(server, waits).encode(["one"])
    assert server.keys == [None]


def test_openai_itself_is_not_asked_without_a_key():
    with pytest.raises(EncodeError, match="OPENAI_API_KEY is not set"):
        OpenAIEncoder("text-embedding-3-small")


def test_a_key_that_no_header_takes_is_refused_without_being_shown(server, waits, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "first-half\nsecond-half")
    with pytest.raises(EncodeError, match="OPENAI_API_KEY holds characters") as error:
        encoder_of(server, waits)
    assert "half" not in str(error.value)


def test_a_refused_key_is_told_at_once_and_never_shown(server, waits, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    server.then(status=401, body='{"error": {"message": "Incorrect API key: secret-1."}}')
    encoder = encoder_of(server, waits)
    with pytest.raises(EncodeError, match=r"status 401: Incorrect API key: \*\*\*") as error:
        encoder.encode(TEXTS)
    assert len(server.bodies) == 1
    assert "secret-1" not in f"{error.value} {encoder!r} {encoder._endpoint!r}"


# Patience


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_passing_failure_is_tried_again(server, waits, status):
    server.then(times=2, status=status, body="busy")
    assert_allclose(encoder_of(server, waits).encode(TEXTS), server.rows(TEXTS), atol=1e-7)
    assert len(server.bodies) == 3


def test_waits_double_at_most_and_are_drawn_at_random(server, waits):
    server.then(times=5, status=500, body="busy")
    retry = waits.retry(first_wait_s=1.0, longest_wait_s=5.0)
    encoder_of(server, waits, retry=retry).encode(["one"])
    assert all(0 <= wait <= most for wait, most in zip(waits.slept, [1, 2, 4, 5, 5], strict=True))
    draws = random.Random(0)
    assert waits.slept == [draws.uniform(0, most) for most in [1, 2, 4, 5, 5]]


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": formatdate(NOW + 9, usegmt=True)}, 9),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2s"}, 62),
    ],
)
def test_a_wait_that_the_server_names_is_kept(server, waits, headers, wait_s):
    server.then(status=429, body="slow down", headers=headers)
    encoder_of(server, waits, retry=waits.retry(longest_wait_s=100.0)).encode(["one"])
    assert waits.slept == [pytest.approx(wait_s, abs=1e-6)]


def test_the_next_request_waits_for_a_limit_that_the_last_one_used_up(server, waits):
    server.then(headers={"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "3s"})
    encoder_of(server, waits, limits=Limits(texts=1, requests=1)).encode(["one", "two", "three"])
    assert waits.slept == [3]


def test_a_reset_time_is_no_reason_to_wait_while_something_remains(server, waits):
    server.then(headers={"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "3s"})
    encoder_of(server, waits, limits=Limits(texts=1, requests=1)).encode(["one", "two"])
    assert waits.slept == []


def test_too_long_a_wait_is_an_error_at_once(server, waits):
    server.then(status=429, body="slow down", headers={"Retry-After": "3600"})
    with pytest.raises(EncodeError, match="asks to wait 3600 s, longer than longest_wait_s=60"):
        encoder_of(server, waits).encode(["one"])
    assert waits.slept == []


def test_patience_ends_after_the_last_attempt_with_the_last_problem(server, waits):
    server.then(times=9, status=500, body='{"detail": "out of memory"}')
    with pytest.raises(EncodeError, match="failed 3 times, at last with status 500: out of memory"):
        encoder_of(server, waits, retry=waits.retry(attempts=3)).encode(["one"])
    assert len(server.bodies) == 3


def test_a_slow_reply_is_given_up_and_asked_for_again(server, waits):
    server.then(delay_s=0.5)
    encoder = encoder_of(server, waits, timeout_s=0.1)
    assert_allclose(encoder.encode(TEXTS), server.rows(TEXTS), atol=1e-7)
    assert len(server.bodies) == 2


def test_a_server_that_is_always_slow_is_named_so(server, waits):
    server.then(times=2, delay_s=0.3)
    with pytest.raises(EncodeError, match=r"no reply within 0\.1 s"):
        encoder_of(server, waits, timeout_s=0.1, retry=waits.retry(attempts=2)).encode(["one"])


def test_a_server_that_is_not_there_is_a_broken_connection(waits):
    retry = waits.retry(attempts=2)
    url = "http://127.0.0.1:9/v1"
    encoder = OpenAIEncoder("toy", base_url=url, dimensions=8, retry=retry)
    with pytest.raises(EncodeError, match=r"failed 2 times, at last with a broken connection"):
        encoder.encode(["one"])


@pytest.mark.parametrize("status", [301, 403, 404])
def test_a_refusal_is_not_repeated_and_quotes_the_server(server, waits, status):
    server.then(status=status, body='{"error": {"message": "dimensions\\n too large"}}')
    with pytest.raises(EncodeError, match=f"status {status}: dimensions too large; "):
        encoder_of(server, waits).encode(TEXTS)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_everything_costs_one_more_short_request(server, waits, status):
    server.then(times=9, status=status, body='{"error": {"message": "dimensions\\n too large"}}')
    with pytest.raises(EncodeError, match=f"status {status}: dimensions too large; "):
        encoder_of(server, waits).encode(TEXTS)
    assert [len(body["input"]) for body in server.bodies] == [5, 1]


def test_an_empty_account_is_not_waited_for(server, waits):
    body = '{"error": {"message": "You ran out of credit.", "code": "insufficient_quota"}}'
    server.then(status=429, body=body)
    with pytest.raises(EncodeError, match="You ran out of credit"):
        encoder_of(server, waits).encode(["one"])
    assert waits.slept == []


# Replies that cannot be used


def drop_one(reply):
    return {"data": reply["data"][1:]}


def repeat_an_index(reply):
    return {"data": [{**entry, "index": 0} for entry in reply["data"]]}


def first_vector(value):
    def edit(reply):
        reply["data"][0]["embedding"] = value
        return reply

    return edit


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (drop_one, "holds 4 vectors for 5 texts"),
        (repeat_an_index, r"has the indices \[0, 0, 0, 0, 0\]"),
        (first_vector([1.0, 2.0]), "mixes vectors of 2 and 8 dimensions"),
        (first_vector(["1", "2"]), "not a list of numbers"),
        (first_vector(None), "not a list of numbers"),
        (first_vector("no base64"), "not base64 of float32"),
        (first_vector([float("nan")] * 8), "for text 4 of 5"),
        (first_vector([0] * 8), "without direction"),
        (lambda reply: {"object": "list"}, "holds no list 'data'"),
        (lambda reply: ["data"], "holds no list 'data'"),
    ],
)
def test_a_reply_without_one_good_vector_per_text_is_refused(server, waits, edit, problem):
    server.then(edit=edit)
    with pytest.raises(EncodeError, match=problem):
        encoder_of(server, waits).encode(TEXTS)


def test_a_reply_that_is_not_json_is_shown_in_part(server, waits):
    server.then(body="<html>" + "x" * 9999)
    with pytest.raises(EncodeError, match=r"not JSON \(<html>x+…\)") as error:
        encoder_of(server, waits).encode(["one"])
    assert len(str(error.value)) < 400


def test_a_server_that_ignores_dimensions_is_found_out(server, waits):
    server.then(edit=lambda reply: {"data": [{"index": 0, "embedding": [1.0] * 8}]})
    with pytest.raises(EncodeError, match="vectors of 8 dimensions where 3 are due"):
        encoder_of(server, waits, dimensions=3).encode(["one"])


# Arguments


def test_without_the_package_it_says_what_to_install(server, waits, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nestvec\[api\]'"):
        encoder_of(server, waits).encode(["one"])


@pytest.mark.parametrize("base_url", ["localhost:8000", "ftp://host/v1", ""])
def test_a_base_url_must_be_a_web_address(base_url):
    with pytest.raises(InputError, match="is no web address"):
        OpenAIEncoder("toy", base_url=base_url, dimensions=8)


def test_a_base_url_may_end_in_a_slash(server, waits):
    encoder = OpenAIEncoder("toy", base_url=f"{server.url}/", dimensions=8)
    assert_allclose(encoder.encode(["one"]), server.rows(["one"]), atol=1e-7)


def test_impossible_settings_are_refused():
    with pytest.raises(DimsError, match="dimensions=0 is below 1"):
        OpenAIEncoder("toy", dimensions=0)
    with pytest.raises(InputError, match="model is empty"):
        open_encoder("openai:")
    with pytest.raises(InputError, match="chars=0 is below 1"):
        Limits(chars=0)
    with pytest.raises(InputError, match="attempts=0 is below 1"):
        Retry(attempts=0)


def test_a_bare_text_is_refused_before_anything_is_sent(server, waits):
    with pytest.raises(InputError, match=r"the single text 'one'; give a list"):
        encoder_of(server, waits).encode("one")
    assert server.bodies == []
