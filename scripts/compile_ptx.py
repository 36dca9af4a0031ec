"""Compiles the CUDA sources to PTX and links them with what executes it on a CPU: for tests only.

    python scripts/compile_ptx.py                    # into fastdist/_ptx.so, of sm_75 and sm_90
    python scripts/compile_ptx.py --arch 8.0 12.0    # of these instead

nvcc's objects are what the library would be linked from, but for PTX in place of machine code and
CPU tensors in place of CUDA's; tools/ptx stands in for the CUDA runtime. Reads CUDA_HOME, CXX,
FASTDIST_TORCH_DIR and MAX_JOBS as compile_extension.py does, and shares its folder of objects.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import compile_extension as extension
import cuda_toolkit
from compile_extension import ROOT, SOURCES, Step
from find_torch import Torch, find_torch

LIBRARY = Path("fastdist") / "_ptx.so"
EXECUTOR = ROOT / "tools" / "ptx"
ARCHITECTURES = ["7.5", "9.0"]  # without and with instructions for pairs


def build(output: Path, architectures: list[str]) -> None:
    """Compile what has changed and link it into ``output``."""
    torch, toolkit = find_torch(), cuda_toolkit.find_toolkit()
    steps = [*kernels(torch, toolkit, architectures), *executor(toolkit)]
    objects = [str(step.target) for step in steps]
    link = [*extension._compiler(), "-shared", "-pthread", *objects]
    link += [f"-L{torch.library_dir}", "-ltorch_cpu", "-ldl", "-Wl,-z,defs"]
    extension.make(steps, link, output)
    extension._say(f"linked {output} of PTX for {' '.join(architectures)}")


def kernels(
    torch: Torch, toolkit: cuda_toolkit.CudaToolkit, architectures: list[str]
) -> list[Step]:
    """csrc/cuda/*.cu as nvcc compiles them, without machine code."""
    flags = [*extension.COMMON, *extension.OPTIMIZED, "-DFASTDIST_WITH_CUDA"]
    flags += [f'-DFASTDIST_CUDA_ARCHITECTURES="{" ".join(architectures)}"']
    command = [str(toolkit.nvcc), *extension._for_nvcc(flags, extension._compiler())]
    command += ["-DFASTDIST_CPU_TENSORS=fastdist_ptx", "-lineinfo", "-I", str(SOURCES)]
    for folder in torch.include_dirs:
        command += ["-isystem", str(folder)]
    if toolkit.flags:  # this nvcc compresses PTX unless it is told not to
        command.append("--compress-mode=none")
    for name in architectures:
        number = name.replace(".", "")
        command += ["-gencode", f"arch=compute_{number},code=compute_{number}"]
    return _steps(sorted((SOURCES / "cuda").rglob("*.cu")), command)


def executor(toolkit: cuda_toolkit.CudaToolkit) -> list[Step]:
    """tools/ptx/*.cpp."""
    command = [*extension._compiler(), *extension.COMMON, "-O3", "-march=native"]
    command += ["-isystem", str(_headers(toolkit))]
    return _steps(sorted(EXECUTOR.glob("*.cpp")), command)


def _headers(toolkit: cuda_toolkit.CudaToolkit) -> Path:
    """Where the toolkit's cuda_runtime_api.h is."""
    for folder in (toolkit.library_dir.parent, toolkit.library_dir.parent.parent):
        if (folder / "include" / "cuda_runtime_api.h").is_file():
            return folder / "include"
    raise RuntimeError(f"no cuda_runtime_api.h near {toolkit.library_dir}")


def _steps(sources: list[Path], command: list[str]) -> list[Step]:
    identity = "\n".join([extension._output_of([command[0], "--version"]), *command])
    folder = ROOT / "build" / "objects" / hashlib.sha256(identity.encode()).hexdigest()[:12]
    steps = []
    for source in sources:
        target = folder / f"{source.relative_to(ROOT).as_posix()}.o"
        steps.append(
            Step(source, target, [*command, "-MD", "-MF", f"{target}.d", "-c", str(source)])
        )
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the CUDA kernels for the PTX executor.")
    parser.add_argument("--output", type=Path, default=ROOT / LIBRARY)
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES, help="such as 9.0")
    arguments = parser.parse_args()
    build(arguments.output, arguments.arch)


if __name__ == "__main__":
    main()
