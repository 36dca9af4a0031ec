"""What ptxas makes of the CUDA kernels: nothing in local memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "scripts" / "kernel_report.py").is_file():
    pytest.skip("not in a source checkout", allow_module_level=True)
sys.path.insert(0, str(ROOT / "scripts"))

import cuda_toolkit  # noqa: E402
import kernel_report  # noqa: E402

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
    steps = kernel_report.cubin_steps(architecture, toolkit, only="passes_exact_float.cu")
    found = kernel_report.parsed(kernel_report.compiled(steps))
    names = {kernel_report.readable(symbol) for symbol in found[architecture]}
    assert "columns<ExactFloat, true, true>" in names
    assert kernel_report.failures(found) == []


def test_a_kernel_that_spills_is_named(toolkit, tmp_path):
    source = tmp_path / "spills.cu"
    source.write_text(SPILLS)
    command = [str(toolkit.nvcc), "-Xptxas", "-v", "-arch=sm_90", "-cubin", str(source)]
    command += ["-o", str(tmp_path / "spills.cubin")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found = kernel_report.parsed([answer.stdout + answer.stderr])
    (line,) = kernel_report.failures(found)
    assert line.startswith("sm_90: spills: ")
