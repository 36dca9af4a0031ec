"""What the compiler makes of the CUDA kernels: nothing in local memory, and documented as it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastdist.providers import emulator

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "scripts" / "kernel_report.py").is_file():
    pytest.skip("not in a source checkout", allow_module_level=True)
sys.path.insert(0, str(ROOT / "scripts"))

import compile_extension  # noqa: E402
import cuda_toolkit  # noqa: E402
import kernel_document  # noqa: E402
import kernel_occupancy  # noqa: E402
import kernel_report  # noqa: E402
import kernel_resources  # noqa: E402
import kernel_tables  # noqa: E402

KERNELS = ROOT / "csrc" / "cuda" / "kernels"
SPILLS = """
extern "C" __global__ void __launch_bounds__(1024, 2) spills(float* x) {
  float held[64];
  for (int k = 0; k < 64; ++k) held[k] = x[k * 1024 + threadIdx.x];
  __syncthreads();
  for (int k = 0; k < 64; ++k) x[k * 1024 + threadIdx.x] = held[k] * held[63 - k] + held[k / 2];
}
"""


@pytest.fixture(scope="module")
def toolkit() -> cuda_toolkit.CudaToolkit:
    try:
        return cuda_toolkit.find_toolkit()
    except cuda_toolkit.ToolkitNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("architecture", ["7.5", "9.0"])
def test_column_passes_stay_in_registers(toolkit, architecture):
    # The hottest file; `make kernels-check` compiles all of them, for more architectures.
    steps = kernel_resources.cubin_steps(architecture, toolkit, only="passes_exact_float.cu")
    found = kernel_resources._parse(kernel_resources.compiled(steps))
    assert "columns<ExactFloat, true, true>" in found[architecture]
    assert kernel_report.failures(found) == []


def test_a_kernel_that_spills_is_named(toolkit, tmp_path):
    source = tmp_path / "spills.cu"
    source.write_text(SPILLS)
    command = [str(toolkit.nvcc), "-Xptxas", "-v", "-arch=sm_90", "-cubin", str(source)]
    command += ["-o", str(tmp_path / "spills.cubin")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found = kernel_resources._parse([answer.stdout + answer.stderr])
    (line,) = kernel_report.failures(found)
    assert line.startswith("sm_90: spills: ")


def test_every_kernel_is_documented_on_every_architecture():
    regex = r"FASTDIST_KERNEL FASTDIST_BOUNDS\(.*\) void (\w+)\("
    sources = [path.read_text() for path in KERNELS.glob("*.cuh")]
    names = {name for source in sources for name in re.findall(regex, source)}
    assert "columns" in names
    found = kernel_document.read()["resources"]["found"]
    assert list(found) == kernel_resources.ARCHITECTURES
    for kernels in found.values():
        assert {kernel.partition("<")[0] for kernel in kernels} == names
        assert all(numbers[1:4] == [0, 0, 0] for numbers in kernels.values())


def test_tables_are_what_the_json_says():
    assert kernel_document.DOCUMENT.read_text() == kernel_document.rendered()


def test_candidates_that_cost_an_instruction_stay_below_twenty_on_every_input():
    found = kernel_document.read()["candidates"]["found"]
    assert {case["op"] for case in found.values()} == {"signed map", "edt inside", "edt outside"}
    for case in found.values():
        for one in case["passes"]:
            assert kernel_tables.steps(one) <= 20
            assert kernel_tables.evaluations(one) <= 40


@pytest.mark.parametrize("op", ["signed map", "edt outside"])
def test_candidates_are_what_the_emulator_counts(op):
    if reason := emulator.available():
        pytest.skip(reason)
    from benchmarks import candidates, inputs

    mask = torch.from_numpy(inputs.blobs((64, 64, 64)))
    recorded = kernel_document.read()["candidates"]["found"][f"{op}, blobs, 64^3"]["passes"]
    for counted, one in zip(candidates.count(mask, 3, op), recorded, strict=True):
        for key in ("anchor_candidates", "run_rows", "pair_rows"):
            assert counted[key] == one[key], "count anew: python -m benchmarks.candidates"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_shared_memory_of_columns_is_what_the_kernel_takes(tmp_path):
    lines = ["#include <cstdint>", '#include "cuda/kernels/columns.cuh"']
    lines.append("using namespace fastdist::cuda;")
    for numbers, size in kernel_occupancy.VALUES.items():
        for length in (1, 31, 33, 256, 1000):
            ours = kernel_occupancy.columns_shared(length, size)
            theirs = f"column_bytes<{numbers}>({length})"
            lines.append(f"static_assert({theirs} == {ours});")
    source = tmp_path / "shared.cpp"
    source.write_text("\n".join(lines))
    command = ["g++", "-std=c++20", "-w", "-fsyntax-only", "-DFASTDIST_EMULATOR"]
    command += ["-I", str(compile_extension.SOURCES), str(source)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
