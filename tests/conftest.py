"""What tests of the engine share."""

from contextlib import contextmanager

import numpy as np
import pytest


@pytest.fixture
def rng():
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20220526)


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="Run the long forms of kill, fuzz, soak.")


@pytest.fixture
def soak(request):
    """Whether to run the long form of a test."""
    return request.config.getoption("--soak")


@pytest.fixture
def stopping_after():
    """Make progress bars that stop the work, as Ctrl-C does, once more than so much is done."""

    def make(most):
        @contextmanager
        def progress(description, total):
            done = 0

            def advance(count):
                nonlocal done
                done += count
                if done > most:
                    raise KeyboardInterrupt

            yield advance

        return progress

    return make
