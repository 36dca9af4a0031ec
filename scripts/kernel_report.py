"""What ptxas makes of the kernels: registers, stack and spills, by architecture.

    python scripts/kernel_report.py                      # a table of registers
    python scripts/kernel_report.py --check              # exit status 1 where a kernel spills
    python scripts/kernel_report.py --arch 7.5 9.0       # these architectures alone

No GPU is needed. The sources are compiled to cubins as compile_extension.py would, into
build/kernels; where the build has left ptxas' words beside its objects (``*.ptxas``), those are
taken and nothing is compiled.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import compile_extension as extension
import cuda_toolkit
from compile_extension import ROOT, SOURCES, Step
from find_torch import find_torch

ARCHITECTURES = cuda_toolkit.DEFAULT_ARCHITECTURES.replace("+PTX", "").split()
KERNEL = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)[af]?'")


@dataclass(frozen=True)
class Resources:
    """Of one kernel on one architecture; bytes a thread."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int


Reports = dict[str, dict[str, Resources]]  # by architecture ("9.0"), then by kernel


def reports(architectures: list[str]) -> Reports:
    """Every kernel's resources; RuntimeError where there is no nvcc."""
    toolkit = extension._toolkit()
    if toolkit is None:
        raise RuntimeError("no nvcc: the kernels cannot be compiled (FASTDIST_CUDA, CUDA_HOME)")
    built = [_words(step) for step in _plan(toolkit, None) if not extension._is_due(step)]
    found = parsed(built) if len(built) == len(_plan(toolkit, None)) else {}
    for architecture in architectures:
        if architecture not in found:
            found |= parsed(compiled(cubin_steps(architecture, toolkit)))
    return {architecture: found[architecture] for architecture in architectures}


def cubin_steps(
    architecture: str, toolkit: cuda_toolkit.CudaToolkit, only: str = "*.cu"
) -> list[Step]:
    """How the .cu files of this pattern become cubins."""
    folder = ROOT / "build" / "kernels" / f"sm_{architecture.replace('.', '')}"
    steps = []
    for step in _plan(toolkit, architecture):
        if step.source.match(only):
            target = folder / f"{step.source.relative_to(SOURCES).as_posix()}.cubin"
            command = ["-cubin" if word == "-c" else word for word in step.command]
            command[command.index("-MF") + 1] = f"{target}.d"
            steps.append(Step(step.source, target, command))
    return steps


def compiled(steps: list[Step]) -> list[str]:
    """Compile what has changed of the steps; what ptxas said of each."""

    def work(step: Step) -> str:
        if extension._is_due(step):
            extension._compile(step)
        return _words(step)

    with ThreadPoolExecutor(extension._jobs()) as pool:
        return list(pool.map(work, steps))


def _plan(toolkit: cuda_toolkit.CudaToolkit, architecture: str | None) -> list[Step]:
    """The build's own steps for the .cu files, for one architecture or for those it is told."""
    before = dict(os.environ)
    if architecture is not None:
        os.environ["TORCH_CUDA_ARCH_LIST"] = architecture
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            steps = extension._plan(extension._compiler(), find_torch(), toolkit, False)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return [step for step in steps if step.source.suffix == ".cu"]


def _words(step: Step) -> str:
    return Path(f"{step.target}.ptxas").read_text(encoding="utf-8")


def parsed(texts: list[str]) -> Reports:
    """ptxas' words, of any number of files."""

    def number(regex: str, text: str) -> int:
        found = re.search(regex, text)
        return int(found[1]) if found else 0

    found: Reports = {}
    for text in texts:
        _, *parts = KERNEL.split(text)
        for symbol, target, words in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            found.setdefault(f"{target[:-1]}.{target[-1]}", {})[symbol] = Resources(
                number(r"Used (\d+) registers", words),
                number(r"(\d+) bytes stack frame", words),
                number(r"(\d+) bytes spill stores", words),
                number(r"(\d+) bytes spill loads", words),
            )
    return found


def readable(symbol: str) -> str:
    """``columns<ExactFloat, true, true>``; the symbol where there is no c++filt."""
    try:
        text = subprocess.run(["c++filt", symbol], capture_output=True, text=True).stdout.strip()
    except OSError:
        return symbol
    text = re.sub(r"\((fastdist::cuda::\w+)\)(\d+)", r"\1 \2", text).removeprefix("void ")
    return re.sub(r"\(.*$", "", text).replace("fastdist::cuda::", "")


def failures(found: Reports) -> list[str]:
    """A line for each kernel and architecture with a spill or a stack: there may be none."""
    return [
        f"sm_{architecture.replace('.', '')}: {readable(symbol)}: {r.stack} bytes of stack,"
        f" {r.spill_stores} + {r.spill_loads} bytes spilled"
        for architecture, kernels in found.items()
        for symbol, r in kernels.items()
        if r.stack or r.spill_stores or r.spill_loads
    ]


def table(found: Reports) -> str:
    """Registers by architecture."""
    symbols = sorted({symbol for kernels in found.values() for symbol in kernels}, key=readable)
    lines = [" " * 42 + "".join(f"{'sm_' + name.replace('.', ''):>8}" for name in found)]
    for symbol in symbols:
        of_kernel = [kernels.get(symbol) for kernels in found.values()]
        cells = "".join(f"{r.registers if r else '-':>8}" for r in of_kernel)
        lines.append(f"{readable(symbol):42}{cells}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What ptxas makes of the kernels.")
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES, metavar="9.0")
    parser.add_argument("--check", action="store_true", help="fail where a kernel spills")
    arguments = parser.parse_args()
    found = reports(arguments.arch)
    if not arguments.check:
        print(table(found))
    elif bad := failures(found):
        print("\n".join(["kernels with spills or a stack in local memory:", *bad]))
        sys.exit(1)
    else:
        count = sum(len(kernels) for kernels in found.values())
        print(f"{count} kernels for {', '.join(found)}: no spill, no stack")


if __name__ == "__main__":
    main()
