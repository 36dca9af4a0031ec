"""The host's side of a launch, csrc/cuda/launch.cu, on a CUDA runtime that records its calls.

No GPU is needed, and no nvcc: the toolkit's headers and a C++ compiler make a program of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import cuda_toolkit  # noqa: E402

KIB = 1024


def headers_of(toolkit: cuda_toolkit.CudaToolkit) -> list[Path]:
    return list(toolkit.root.glob("targets/*/include")) or [toolkit.root / "include"]


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """tests/recorded_runtime.cpp, which says at its top what it can be asked."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    try:
        toolkit = cuda_toolkit.find_toolkit()
    except cuda_toolkit.ToolkitNotFoundError as error:
        pytest.skip(str(error))
    headers = headers_of(toolkit)
    made = tmp_path_factory.mktemp("launch") / "recorded_runtime"
    command = ["g++", "-std=c++20", "-O1", "-pthread", "-I", str(ROOT / "csrc")]
    command += [flag for folder in headers for flag in ("-isystem", str(folder))]
    # Device functions are not compiled, only read: this one is known to nvcc alone.
    command += ["-D__cvta_generic_to_shared=(unsigned long)"]
    command += ['-DFASTDIST_CUDA_ARCHITECTURES="9.0"', "-x", "c++"]
    command += [str(ROOT / "csrc/cuda/launch.cu"), str(ROOT / "tests/recorded_runtime.cpp")]
    answer = subprocess.run(
        [*command, "-o", str(made)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return made


def ask(program: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_threads_with_columns_of_two_lengths_leave_each_other_their_shared_memory(program):
    answer = ask(program, "threads")
    assert answer.returncode == 0, answer.stdout  # a launch that failed says why
    assert answer.stdout.splitlines() == [f"device 0, first: {227 * KIB}"]  # set once, to the most


def test_each_kernel_may_have_what_each_device_has_less_its_static_memory(program):
    answer = ask(program, "devices")
    assert answer.returncode == 0, answer.stdout
    assert sorted(answer.stdout.splitlines()) == [
        f"device 0, first: {227 * KIB}",
        f"device 0, second: {226 * KIB}",
        f"device 1, first: {99 * KIB}",
        f"device 1, second: {98 * KIB}",
    ]


def number(error: str) -> str:
    """A cudaError_t's number, from the toolkit's header."""
    header = headers_of(cuda_toolkit.find_toolkit())[0] / "driver_types.h"
    found = re.search(rf"\b{error}\s*=\s*(\d+)", header.read_text(encoding="utf-8"))
    assert found, error
    return found.group(1)


@pytest.mark.parametrize(
    "error",
    [
        *("cudaErrorNoKernelImageForDevice", "cudaErrorInvalidDeviceFunction"),
        *("cudaErrorInvalidKernelImage", "cudaErrorInvalidPtx", "cudaErrorUnsupportedPtxVersion"),
        *("cudaErrorJitCompilerNotFound", "cudaErrorJitCompilationDisabled"),
    ],
)
def test_code_that_this_gpu_cannot_run_is_explained(program, error):
    said = ask(program, "error", number(error)).stdout
    assert said.startswith("fastdist: columns: the runtime's words. The library was compiled for")
    assert "this GPU (a stand-in) is 11.0" in said
    assert "install it again with TORCH_CUDA_ARCH_LIST=11.0" in said
    assert ("CUDA_DISABLE_PTX_JIT" in said) == (error == "cudaErrorJitCompilationDisabled")


@pytest.mark.parametrize(
    "error",
    [
        *("cudaErrorIllegalAddress", "cudaErrorLaunchFailure", "cudaErrorAssert"),
        *("cudaErrorMisalignedAddress", "cudaErrorLaunchTimeout", "cudaErrorIllegalInstruction"),
        *("cudaErrorHardwareStackError", "cudaErrorInvalidPc", "cudaErrorInvalidAddressSpace"),
        *("cudaErrorECCUncorrectable", "cudaErrorNvlinkUncorrectable"),
    ],
)
def test_an_error_that_another_kernel_may_have_left_behind_says_so(program, error):
    said = ask(program, "error", number(error)).stdout
    assert said.startswith("fastdist: columns: the runtime's words, possibly from an earlier")
    assert "CUDA_LAUNCH_BLOCKING=1" in said
    assert "TORCH_CUDA_ARCH_LIST" not in said


def test_an_error_of_the_launch_itself_blames_nobody_else(program):
    said = ask(program, "error", number("cudaErrorInvalidValue")).stdout
    assert said == "fastdist: columns: invalid argument\n"
