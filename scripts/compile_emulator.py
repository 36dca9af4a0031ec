"""Compiles the CUDA sources as C++, with the emulator that runs them on a CPU: for tests only.

    python scripts/compile_emulator.py                          # into fastdist/_emulator.so
    python scripts/compile_emulator.py --sanitize --output F    # with ASan and UBSan

Takes csrc/cuda/**/*.cu and *.cpp with -DFASTDIST_EMULATOR, and csrc/emulator/*.cpp. Reads CXX,
FASTDIST_CXXFLAGS, FASTDIST_TORCH_DIR and MAX_JOBS as compile_extension.py does, and shares its
folder of objects.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import compile_extension as extension
from compile_extension import ROOT, SOURCES, Step
from find_torch import find_torch

LIBRARY = Path("fastdist") / "_emulator.so"
ENGINE = SOURCES / "emulator"

# -Wno-unknown-pragmas: "#pragma unroll" is nvcc's.
FLAGS = ["-DFASTDIST_EMULATOR", "-DFASTDIST_CPU_TENSORS=fastdist_emulator"]
FLAGS += ["-Wno-unknown-pragmas", "-I", str(SOURCES)]
# Asserts stay in, and the kernels' lines can be told.
OPTIMIZED = ["-O2", "-g"]


def build(output: Path, *, sanitize: bool = False) -> None:
    """Compile what has changed and link it into ``output``."""
    torch = find_torch()
    kernels = [path for suffix in ("cu", "cpp") for path in (SOURCES / "cuda").rglob(f"*.{suffix}")]
    headers = [flag for folder in torch.include_dirs for flag in ("-isystem", str(folder))]
    steps = plan([*sorted(kernels), *engine()], headers, sanitize=sanitize)
    link = extension._link_flags(steps, torch, None, sanitize)
    extension.make(steps, [*extension._compiler(), *link, "-ldl"], output)
    extension._say(f"linked {output} against torch {torch.version}")


def engine() -> list[Path]:
    """The sources of the emulator itself."""
    return sorted(ENGINE.glob("*.cpp"))


def plan(sources: Iterable[Path], flags: Sequence[str] = (), *, sanitize: bool) -> list[Step]:
    """How these sources, kernels or the emulator's own, become objects; ``flags`` besides ours."""
    compiler = extension._compiler()
    command = [*compiler, *extension.COMMON, *(extension.SANITIZED if sanitize else OPTIMIZED)]
    command += [*FLAGS, *flags, *shlex.split(os.environ.get("FASTDIST_CXXFLAGS", ""))]
    identity = "\n".join([extension._output_of([*compiler, "--version"]), *command])
    folder = ROOT / "build" / "objects" / hashlib.sha256(identity.encode()).hexdigest()[:12]
    steps = []
    for source in sources:
        target = folder / f"{source.relative_to(ROOT).as_posix()}.o"
        how = ["-MD", "-MF", f"{target}.d", "-x", "c++", "-c", str(source)]
        steps.append(Step(source, target, [*command, *how]))
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the CUDA kernels for the emulator.")
    parser.add_argument("--output", type=Path, default=ROOT / LIBRARY)
    parser.add_argument("--sanitize", action="store_true", help="with ASan and UBSan")
    arguments = parser.parse_args()
    build(arguments.output, sanitize=arguments.sanitize)


if __name__ == "__main__":
    main()
