"""What ptxas says of every kernel: registers, stack, spills and shared memory, by architecture.

The sources are compiled to cubins with the command that compile_extension.py would use, and ``-v``
for ptxas, into build/kernels; a file is compiled anew when its source, a header or its command has
changed. Where the build has left ptxas' words beside its objects (``*.ptxas``), those are taken and
nothing is compiled.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import compile_extension as extension
import cuda_toolkit
from compile_extension import ROOT, SOURCES, Step
from find_torch import find_torch

ARCHITECTURES = cuda_toolkit.DEFAULT_ARCHITECTURES.replace("+PTX", "").split()
CUBINS = ROOT / "build" / "kernels"
VERBOSE = ["-Xptxas", "-v"]
#: Line numbers change no instruction: kernel_machine_code.py tells by them what code belongs to.
LINES = ["-lineinfo"]


@dataclass(frozen=True)
class Resources:
    """Of one kernel on one architecture; bytes a thread but for `shared`, a block's."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int

    @property
    def in_registers(self) -> bool:
        return not (self.stack or self.spill_stores or self.spill_loads)

    def as_list(self) -> list[int]:
        return list(astuple(self))


def reports(architectures: Iterable[str]) -> dict[str, dict[str, Resources]]:
    """Every kernel's resources: by architecture ("9.0"), then by the kernel's readable name.

    Raises
    ------
    RuntimeError
        Where there is no nvcc.
    """
    toolkit = extension._toolkit()
    if toolkit is None:
        raise RuntimeError("no nvcc: the kernels cannot be compiled (FASTDIST_CUDA, CUDA_HOME)")
    wanted = list(architectures)
    texts = _texts_of_build(toolkit)
    found = {name: kernels for name, kernels in _parse(texts).items() if name in wanted}
    for architecture in wanted:
        if architecture not in found:
            steps = cubin_steps(architecture, toolkit)
            found |= _parse(compiled(steps))
    return {architecture: found[architecture] for architecture in wanted}


def compiled(steps: list[Step]) -> list[str]:
    """Compile what has changed of the steps; what ptxas said of each."""
    with ThreadPoolExecutor(extension._jobs()) as pool:
        return list(pool.map(_compiled, steps))


def cubin_steps(
    architecture: str, toolkit: cuda_toolkit.CudaToolkit, only: str | None = None
) -> list[Step]:
    """One cubin for each .cu file; `only`: of the file of this name."""
    folder = CUBINS / f"sm_{architecture.replace('.', '')}"
    steps = []
    for step in _plan(toolkit, architecture):
        if only is not None and step.source.name != only:
            continue
        target = folder / f"{step.source.relative_to(SOURCES).as_posix()}.cubin"
        command = list(step.command)
        at = command.index("-MF")
        command[at + 1] = f"{target}.d"
        command[command.index("-c")] = "-cubin"
        kept = [word for word in command if word not in ("-Xptxas", "-v")]
        steps.append(Step(step.source, target, [kept[0], *VERBOSE, *LINES, *kept[1:]]))
    return steps


def _plan(toolkit: cuda_toolkit.CudaToolkit, architecture: str | None) -> list[Step]:
    """The build's own steps for the .cu files, for one architecture or for those it is told."""
    name = "TORCH_CUDA_ARCH_LIST"
    before = os.environ.get(name)
    try:
        if architecture is not None:
            os.environ[name] = architecture
        with contextlib.redirect_stdout(io.StringIO()):
            steps = extension._plan(extension._compiler(), find_torch(), toolkit, False)
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
    return [step for step in steps if step.source.suffix == ".cu"]


def _texts_of_build(toolkit: cuda_toolkit.CudaToolkit) -> list[str]:
    """What ptxas said in the last build; nothing where that is not all there, and up to date."""
    texts = []
    for step in _plan(toolkit, None):
        report = _report_of(step)
        if extension._is_due(step) or not report.is_file():
            return []
        texts.append(report.read_text(encoding="utf-8"))
    return texts


def _report_of(step: Step) -> Path:
    return step.target.with_name(f"{step.target.name}.ptxas")


def _compiled(step: Step) -> str:
    report, record = _report_of(step), step.target.with_name(f"{step.target.name}.command")
    if not report.is_file() or extension._is_due(step):
        step.target.parent.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        extension._say(f"  {step.target.relative_to(ROOT)}")
        command = [*step.command, "-o", str(step.target)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise RuntimeError(f"failed: {shlex.join(command)}\n{answer.stdout}{answer.stderr}")
        report.write_text(answer.stdout + answer.stderr, encoding="utf-8")
        record.write_text(shlex.join(step.command), encoding="utf-8")
    return report.read_text(encoding="utf-8")


KERNEL = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)[af]?'")
NUMBERS = {
    "stack": r"(\d+) bytes stack frame",
    "spill_stores": r"(\d+) bytes spill stores",
    "spill_loads": r"(\d+) bytes spill loads",
    "registers": r"Used (\d+) registers",
    "shared": r"(\d+) bytes smem",
}


def _parse(texts: Iterable[str]) -> dict[str, dict[str, Resources]]:
    raw: list[tuple[str, str, Resources]] = []
    for text in texts:
        heads = list(KERNEL.finditer(text))
        for head, behind in zip(heads, [*heads[1:], None], strict=False):
            of_kernel = text[head.end() : behind.start() if behind else len(text)]
            numbers = {name: re.search(regex, of_kernel) for name, regex in NUMBERS.items()}
            values = {name: int(match[1]) if match else 0 for name, match in numbers.items()}
            number = head[2]
            raw.append((f"{number[:-1]}.{number[-1]}", head[1], Resources(**values)))
    found: dict[str, dict[str, Resources]] = {}
    for (architecture, _, resources), name in zip(raw, demangled(r[1] for r in raw), strict=True):
        found.setdefault(architecture, {})[name] = resources
    return found


def demangled(symbols: Iterable[str]) -> list[str]:
    """Names as one would write them: ``pack<uint8, kMask>``; as they are where there is no
    c++filt."""
    symbols = list(symbols)
    if not symbols or shutil.which("c++filt") is None:
        return symbols
    text = "\n".join(symbols)
    answer = subprocess.run(["c++filt"], input=text, capture_output=True, text=True, check=True)
    return [_short(line) for line in answer.stdout.splitlines()]


TYPES = {"unsigned char": "uint8", "unsigned short": "uint16"}
TYPES |= {"unsigned int": "uint32", "unsigned long": "uint64"}


def _short(name: str) -> str:
    name = re.sub(r"\(fastdist::cuda::(\w+)\)(\d+)", lambda m: _enumerator(m[1], int(m[2])), name)
    name = re.sub(r"\(.*$", "", name.removeprefix("void ")).replace("fastdist::cuda::", "")
    return re.sub("|".join(TYPES), lambda m: TYPES[m[0]], name)


def _enumerator(enum: str, value: int) -> str:
    return _enums().get(enum, {}).get(value, f"{enum} {value}")


@cache
def _enums() -> dict[str, dict[int, str]]:
    found = {}
    for source in _kernel_sources():
        for enum, body in re.findall(r"enum class (\w+)[^{;]*\{(.*?)\}", source, re.DOTALL):
            names = re.sub(r"//.*", "", body).split(",")
            found[enum] = dict(enumerate(name.strip() for name in names if name.strip()))
    return found


def _kernel_sources() -> Iterator[str]:
    for path in sorted((SOURCES / "cuda" / "kernels").glob("*.cuh")):
        yield path.read_text(encoding="utf-8")


def constants() -> dict[str, int]:
    """The whole-numbered constants of csrc/cuda/kernels, such as ``kColumnThreads``."""
    found = {}
    for source in _kernel_sources():
        for line in re.findall(r"^constexpr (?:int|int64_t) .*;", source, re.MULTILINE):
            found |= {name: int(value) for name, value in re.findall(r"(k\w+) = (\d+)[,;]", line)}
    return found
