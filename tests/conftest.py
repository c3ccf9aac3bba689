"""What tests of the engine share."""

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
