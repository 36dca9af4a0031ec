"""Compiles csrc/ into the library that ``torch.ops.load_library`` loads.

Called by setup.py, and by hand while working on the sources::

    python scripts/compile_extension.py                  # into fastdist/_extension.so

The library has no Python in it and uses torch's stable ABI alone, so one file serves every
Python, and every torch from 2.10 on. Read from the environment:

=====================  ==========================================================================
FASTDIST_EXTENSION     ``0``: pure Python. ``1``: an error where it cannot be compiled.
                       ``auto`` (default): pure Python where there is no compiler
FASTDIST_CUDA          ``0``, ``1``, ``auto`` (default: with CUDA where there is an nvcc), or
                       ``keep``: as the library that is there; a first one with CUDA where
                       there is a GPU as well
TORCH_CUDA_ARCH_LIST   architectures to compile for (see cuda_toolkit.py)
FASTDIST_TORCH_DIR     the torch package to compile against (see find_torch.py)
CXX, FASTDIST_CXXFLAGS the compiler, and flags after ours
CUDA_HOME              the CUDA toolkit
MAX_JOBS               compilers run at once (default, and ``auto``: the processors this
                       process may use)
=====================  ==========================================================================

Objects stay in build/objects; one is compiled anew when its source, a header that it read or its
command has changed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cuda_toolkit
from find_torch import Torch, find_torch

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "csrc"
LIBRARY = Path("fastdist") / "_extension.so"

# -ffp-contract=off: a fused multiply-add rounds once where two operations round twice, so the
# same source would give other bits on another instruction set.
COMMON = [
    "-std=c++20",
    "-fPIC",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-DTORCH_TARGET_VERSION=0x020a000000000000",
]
OPTIMIZED = ["-O3", "-DNDEBUG"]
SANITIZED = [
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
]

# One library for every x86-64: the same kernels once per level, chosen at run time.
LEVELS = {
    "cpu/kernels_v3.cpp": ["-march=x86-64-v3"],
    "cpu/kernels_v4.cpp": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}


@dataclass(frozen=True)
class Step:
    """One object file and the command that makes it."""

    source: Path
    target: Path
    command: list[str]


def reason_for_pure_python() -> str | None:
    """Why no library is compiled here, or None where one is.

    Raises
    ------
    RuntimeError
        Where ``FASTDIST_EXTENSION=1`` or ``FASTDIST_CUDA=1`` asks for one all the same.
    """
    asked = os.environ.get("FASTDIST_EXTENSION", "").strip().lower() or "auto"
    if asked not in ("0", "1", "auto"):
        raise ValueError(f"FASTDIST_EXTENSION is {asked!r}: expected 0, 1 or auto")
    if asked == "0":
        reason = "FASTDIST_EXTENSION=0 was set when it was built"
    elif sys.platform != "linux":
        reason = f"it is compiled on Linux only so far (this is {sys.platform})"
    elif not _sources(".cpp"):
        reason = f"the source tree holds no C++ sources ({SOURCES})"
    elif shutil.which(_compiler()[0]) is None:
        reason = f"no C++ compiler was found when it was built (tried {_compiler()[0]!r}, from CXX)"
    else:
        return None
    for name in ("FASTDIST_EXTENSION", "FASTDIST_CUDA"):
        if os.environ.get(name) == "1":
            raise RuntimeError(f"{name}=1, but the library cannot be compiled: {reason}")
    return reason


def build(output: Path, *, sanitize: bool = False) -> None:
    """Compile what has changed and link it into ``output``."""
    torch = find_torch()
    compiler = _compiler()
    toolkit = _toolkit()
    steps = _plan(compiler, torch, toolkit, sanitize)
    make(steps, [*compiler, *_link_flags(steps, torch, toolkit, sanitize)], output)
    _say(f"linked {output} against torch {torch.version}")


def make(steps: list[Step], link: list[str], output: Path) -> None:
    """Compile what has changed of the steps, then run ``link`` with ``output`` as its output."""
    objects = ROOT / "build" / "objects"
    folder = objects / steps[0].target.relative_to(objects).parts[0]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds into one folder take turns
        due = [step for step in steps if _is_due(step)]
        _say(f"compiling {len(due)} of {len(steps)} files")
        with ThreadPoolExecutor(_jobs()) as pool:
            list(pool.map(_compile, due))
        output.parent.mkdir(parents=True, exist_ok=True)
        # Into another file first: a process that has the old library mapped keeps it.
        draft = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            _show(_run([*link, "-o", str(draft)]))
            os.replace(draft, output)
        finally:
            draft.unlink(missing_ok=True)


def _plan(
    compiler: list[str], torch: Torch, toolkit: cuda_toolkit.CudaToolkit | None, sanitize: bool
) -> list[Step]:
    machine = _output_of([*compiler, "-dumpmachine"])
    has_levels = machine.startswith("x86_64") and all(
        _accepts(compiler, flags) for flags in LEVELS.values()
    )
    flags = COMMON + (SANITIZED if sanitize else OPTIMIZED) + paths_left_out(torch, toolkit)
    flags += [f'-DFASTDIST_VERSION="{_version()}"', f'-DFASTDIST_TORCH_HEADERS="{torch.version}"']
    if not has_levels:
        _say(f"no x86-64 levels for {machine}: the baseline kernels serve alone")
        flags.append("-DFASTDIST_NO_X86_LEVELS")
    architectures: list[str] = []
    if toolkit is not None:
        architectures, names = cuda_toolkit.architecture_flags(toolkit)
        flags += ["-DFASTDIST_WITH_CUDA", f'-DFASTDIST_CUDA_ARCHITECTURES="{names}"']
        _say(f"with CUDA {toolkit.version} for {names}")
    includes = ["-I", str(SOURCES)]
    for folder in torch.include_dirs:
        includes += ["-isystem", str(folder)]
    # Another compiler, torch or mode: another folder, so that going to and fro costs nothing.
    identity = "\n".join(
        [*compiler, _output_of([*compiler, "--version"]), torch.version, *flags, *includes]
    )
    folder = ROOT / "build" / "objects" / hashlib.sha256(identity.encode()).hexdigest()[:12]
    extra = shlex.split(os.environ.get("FASTDIST_CXXFLAGS", ""))

    steps = []
    for source in _sources(".cpp"):
        name = source.relative_to(SOURCES).as_posix()
        if name in LEVELS and not has_levels:
            continue
        target = folder / f"{name}.o"
        command = [*compiler, *flags, *includes, *LEVELS.get(name, []), *extra]
        command += ["-MD", "-MF", f"{target}.d", "-c", str(source)]
        steps.append(Step(source, target, command))
    for source in _sources(".cu") if toolkit is not None else []:
        target = folder / f"{source.relative_to(SOURCES).as_posix()}.o"
        command = [str(toolkit.nvcc), *_for_nvcc(flags, compiler), *toolkit.flags]
        command += [*includes, *architectures, "-Xptxas", "-v"]
        command += ["-MD", "-MF", f"{target}.d", "-c", str(source)]
        steps.append(Step(source, target, command))
    return steps


def paths_left_out(torch: Torch, toolkit: cuda_toolkit.CudaToolkit | None = None) -> list[str]:
    """Flags that keep the building machine's paths out of the library: its errors show them.

    Torch's macros hold __FILE__, which is the path of the header or source as the compiler was
    told it. The last of several that fit counts: torch may lie below the source tree.
    """
    short = {ROOT: "", torch.folder: "torch/"}
    if toolkit is not None:
        short[toolkit.root] = "cuda/"
    # As spelled, and resolved: the compiler shortens paths of system headers that are links.
    return [
        f"-ffile-prefix-map={path}/={name}"
        for folder, name in short.items()
        for path in dict.fromkeys((folder, folder.resolve()))
    ]


def _for_nvcc(flags: list[str], compiler: list[str]) -> list[str]:
    """Our flags as nvcc takes them: the host compiler's own through -Xcompiler."""
    # Torch's stable headers then declare the current stream. Multiplications and additions are
    # fused where the source says so, and nowhere else, as on the CPU.
    own = ["-DUSE_CUDA", "-fmad=false"]
    if len(compiler) == 1:
        own += ["-ccbin", compiler[0]]
    for flag in flags:
        if flag.startswith(("-std=", "-O", "-D")):
            own.append(flag)
        else:
            own += ["-Xcompiler", flag.replace(",", "\\,")]  # nvcc splits at commas
    return own


def _link_flags(
    steps: list[Step], torch: Torch, toolkit: cuda_toolkit.CudaToolkit | None, sanitize: bool
) -> list[str]:
    flags = ["-shared", "-pthread", *(str(step.target) for step in steps)]
    # libstdc++ first: torch's libraries export parts of a newer one, unversioned, and a library
    # that took those would not load under a torch without them.
    flags += ["-Wl,--as-needed", "-lstdc++", f"-L{torch.library_dir}", "-ltorch_cpu"]
    if toolkit is not None:
        flags += [f"-L{toolkit.library_dir}", "-lcudart_static", "-ldl", "-lrt"]
        # Nothing in libtorch.so itself is used, but behind it the loader finds libtorch_cuda.so
        # where there is one, and with it the current stream (a weak symbol).
        flags += ["-Wl,--no-as-needed", "-ltorch", "-Wl,--exclude-libs,ALL"]
    if sanitize:
        flags += ["-fsanitize=address,undefined"]
    else:
        flags += ["-Wl,-z,defs"]  # a symbol that nobody defines fails here, not at the first call
    return flags


def _toolkit() -> cuda_toolkit.CudaToolkit | None:
    wanted = cuda_toolkit.wanted(ROOT / LIBRARY)
    if wanted == "0":
        return None
    if not _sources(".cu"):
        if wanted == "1":
            raise RuntimeError(f"FASTDIST_CUDA=1, but {SOURCES / 'cuda'} holds no .cu files")
        return None
    try:
        return cuda_toolkit.find_toolkit()
    except cuda_toolkit.ToolkitNotFoundError as error:
        if wanted == "1":
            raise RuntimeError(f"FASTDIST_CUDA=1, but {error}") from error
        _say(f"for the CPU alone: {error}")
        return None


def _is_due(step: Step) -> bool:
    record = step.target.with_name(step.target.name + ".command")
    if not step.target.is_file() or not record.is_file():
        return True
    if record.read_text(encoding="utf-8") != shlex.join(step.command):
        return True
    made = step.target.stat().st_mtime_ns
    rules = Path(f"{step.target}.d").read_text(encoding="utf-8")
    for name in shlex.split(rules.replace("\\\n", " ").partition(":")[2]):
        read = Path(name)
        if not read.is_file() or read.stat().st_mtime_ns > made:
            return True
    return False


def _compile(step: Step) -> None:
    record = step.target.with_name(step.target.name + ".command")
    step.target.parent.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)  # until the object is whole
    _say(f"  {step.source.relative_to(ROOT)}")
    said = _run([*step.command, "-o", str(step.target)])
    if "-Xptxas" in step.command:  # registers and spills, which scripts/kernel_report.py reads
        step.target.with_name(step.target.name + ".ptxas").write_text(said, encoding="utf-8")
        said = "\n".join(line for line in said.splitlines() if "warning" in line)
    _show(said)
    record.write_text(shlex.join(step.command), encoding="utf-8")


def _run(command: list[str]) -> str:
    """What the command printed."""
    answer = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if answer.returncode:
        is_cuda = command[-1].endswith(".cu.o")
        hint = "\n(FASTDIST_CUDA=0 builds for the CPU alone)" if is_cuda else ""
        raise RuntimeError(f"failed: {shlex.join(command)}\n{answer.stdout}{hint}")
    return answer.stdout


def _show(text: str) -> None:
    if text.strip():
        print(text.rstrip(), flush=True)


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX", "")) or ["g++"]


def _accepts(compiler: list[str], flags: list[str]) -> bool:
    probe = [*compiler, *flags, "-E", "-x", "c++", os.devnull, "-o", os.devnull]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _output_of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _sources(suffix: str) -> list[Path]:
    folder = SOURCES / "cuda" if suffix == ".cu" else SOURCES
    emulator = SOURCES / "emulator"  # tests compile it, the library has no part of it
    return sorted(p for p in folder.rglob(f"*{suffix}") if emulator not in p.parents)


def _jobs() -> int:
    asked = os.environ.get("MAX_JOBS", "").strip().lower() or "auto"
    if asked == "auto":
        return len(os.sched_getaffinity(0))
    if not re.fullmatch("[0-9]+", asked) or int(asked) == 0:
        raise ValueError(f"MAX_JOBS is {asked!r}: expected a whole number above 0, or auto")
    return int(asked)


def _version() -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^version = "(.*)"$', text, flags=re.MULTILINE)
    assert match, "pyproject.toml holds no version"
    return match.group(1)


def _say(text: str) -> None:
    sys.stdout.write(f"fastdist: {text}\n")  # in one piece: several threads speak
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile csrc/ into one library.")
    parser.add_argument("--output", type=Path, default=ROOT / LIBRARY)
    parser.add_argument("--sanitize", action="store_true", help="with ASan and UBSan")
    arguments = parser.parse_args()
    reason = reason_for_pure_python()
    if reason is not None:
        _say(f"nothing is compiled: {reason}")
        return
    build(arguments.output, sanitize=arguments.sanitize)


if __name__ == "__main__":
    main()
