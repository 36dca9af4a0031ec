"""The fixture that runs a test once per provider, and how the suite is told what to demand.

FASTDIST_TEST_PROVIDERS     comma-separated; default: every provider that is available here, but for
                            the emulator, which has to be named
FASTDIST_REQUIRE_EXTENSION  1: fail where the compiled extension is not available
FASTDIST_REQUIRE_CUDA       1: a test that needs a GPU fails where there is none (cuda_support.py)
"""

from __future__ import annotations

import os

import pytest
import torch
from cuda_support import NO_GPU, REQUIRE_CUDA, usable
from hypothesis import HealthCheck, settings

from fastdist import providers

REQUIRE_EXTENSION = os.environ.get("FASTDIST_REQUIRE_EXTENSION") == "1"
WANTED = os.environ.get("FASTDIST_TEST_PROVIDERS")
PROVIDERS = [name.strip() for name in WANTED.split(",")] if WANTED else providers.available()

# The cost of brute force is voxels times sites: what the reference is still asked to compute.
REFERENCE_PAIRS = 2_000_000

settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs a GPU is skipped where there is none, or fails where one is required."""
    if item.get_closest_marker("cuda") and not usable():
        if REQUIRE_CUDA:
            pytest.fail(NO_GPU, pytrace=False)
        pytest.skip(NO_GPU)


@pytest.fixture(params=PROVIDERS)
def provider(request) -> str:
    """The name of the provider that answers during the test."""
    if request.param in providers.TEST_ONLY and request.node.get_closest_marker("asks_values"):
        pytest.skip("on a GPU wrong values count as ignored (test_cuda_errors.py)")
    with providers.forced(request.param):
        yield request.param


@pytest.fixture
def quick(provider) -> str:
    """A provider that can be asked for large images; the reference is not one."""
    if provider == "reference":
        pytest.skip("the reference is brute force: not asked for large images")
    return provider


def affordable(provider: str, voxels: int, sites: int) -> None:
    """Skip what brute force would take too long for."""
    if provider == "reference" and voxels * sites > REFERENCE_PAIRS:
        pytest.skip("the reference is brute force: too many pairs of voxels")


@pytest.fixture(autouse=True)
def _two_threads_at_most():
    """Tests may change the number of threads; each starts with two (one on a single core)."""
    torch.set_num_threads(min(2, os.cpu_count() or 1))
