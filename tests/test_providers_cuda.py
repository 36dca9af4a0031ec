"""Who answers for CUDA tensors, as far as that can be asked without a GPU."""

from __future__ import annotations

import json

import pytest
import torch

from fastdist import ops, providers
from fastdist.providers import cuda, extension


def compiled_with_cuda() -> bool:
    if extension.available() is not None:
        return False
    return json.loads(ops.build_info())["cuda_architectures"] != "none"


def has_kernel(op: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"fastdist::{op}", "CUDA")


def test_every_op_has_a_cuda_kernel_whoever_is_chosen_for_the_cpu():
    for name in providers.available():
        with providers.forced(name):
            assert all(has_kernel(op) for op in ops.PROVIDED)


@pytest.mark.skipif(not compiled_with_cuda(), reason="the library was built without CUDA")
def test_the_compiled_kernels_answer_unless_numba_is_forced():
    with providers.forced("reference"):
        assert providers.current("cuda") == "extension"
    if "numba" in providers.available():
        with providers.forced("numba"):
            assert providers.current("cuda") in ("numba", None)  # None: it finds no GPU
        with providers.forced("extension"):
            assert providers.current("cuda") == "extension"
            assert all(has_kernel(op) for op in ops.PROVIDED)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_where_nobody_can_answer_the_error_says_why():
    with pytest.raises(RuntimeError, match="nobody computes on CUDA tensors") as raised:
        cuda._numba("edt_out")()
    assert "Numba" in str(raised.value)
    assert "compiled library" in str(raised.value)


@pytest.mark.parametrize("name", ["emulator", "ptx"])
def test_what_stands_in_for_a_gpu_is_never_chosen_by_itself(name):
    assert name in providers.TEST_ONLY
    assert name not in providers.ORDER
    assert name not in providers.available()
