"""Does the compiled library load under every torch from 2.10 on?

``python scripts/abi_audit.py fastdist/_extension.so`` (or a wheel) looks at what the library wants
from outside: C functions that torch 2.10 has (abi/torch_2_10.txt), the C and C++ runtimes, and
nothing else: no C++ symbol of torch, no Python, no OpenMP. Stands in for an installation of the
oldest torch, whose download is several GB. Needs readelf (binutils).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIST = Path(__file__).resolve().parent / "abi" / "torch_2_10.txt"

# Symbols of the C and C++ runtimes carry the version that brought them in; torch's carry none.
RUNTIMES = ("GLIBC_", "GLIBCXX_", "CXXABI_", "GCC_")
LIBRARIES = re.compile(
    r"libtorch(_cpu)?\.so|libstdc\+\+\.so\.6|libgcc_s\.so\.1|lib(c|m|dl|rt|pthread)\.so\.\d|ld-linux.*"
)
# Asked for weakly in every shared object by the compiler's own start-up files.
STARTUP = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__"}


def audit(library: Path) -> list[str]:
    """What is wrong with the library, in words; empty where nothing is."""
    strong, weak = _allowed()
    problems = []
    for name, binding, version in _wanted(library):
        if version.startswith(RUNTIMES) or name in STARTUP:
            continue
        if name in strong or (binding == "WEAK" and name in weak):
            continue
        if name in weak:
            problems.append(f"{name} is in libtorch_cuda.so alone and must be a weak reference")
        else:
            problems.append(f"{_readable(name)} is not among the C functions of torch 2.10")
    for entry, value in _dynamic(library):
        if entry == "NEEDED" and not LIBRARIES.fullmatch(value):
            problems.append(f"it needs {value}")
        if entry in ("RPATH", "RUNPATH"):
            problems.append(f"it looks for libraries in {value}")
    return problems


def newest_runtimes(library: Path) -> dict[str, str]:
    """The newest version asked of each runtime: ``{"GLIBC": "2.34", ...}``."""
    newest: dict[str, tuple[int, ...]] = {}
    for _, _, version in _wanted(library):
        runtime, _, number = version.partition("_")
        if version.startswith(RUNTIMES) and re.fullmatch(r"[\d.]+", number):
            parts = tuple(int(part) for part in number.split("."))
            newest[runtime] = max(newest.get(runtime, ()), parts)
    return {name: ".".join(map(str, parts)) for name, parts in sorted(newest.items())}


def _allowed() -> tuple[set[str], set[str]]:
    strong, weak = set(), set()
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("weak "):
            weak.add(line.removeprefix("weak "))
        elif line and not line.startswith("#"):
            strong.add(line)
    return strong, weak


def _wanted(library: Path) -> list[tuple[str, str, str]]:
    """(name, binding, version) of every undefined symbol."""
    found = []
    for line in _readelf("--dyn-syms", library):
        # Num: Value Size Type Bind Vis Ndx Name[@version] [(n)]
        fields = line.split()
        if len(fields) >= 8 and fields[6] == "UND":
            name, _, version = fields[7].partition("@")
            found.append((name, fields[4], version.lstrip("@")))
    return found


def _dynamic(library: Path) -> list[tuple[str, str]]:
    matches = (re.search(r"\((\w+)\).*\[(.*)\]", line) for line in _readelf("--dynamic", library))
    return [(match.group(1), match.group(2)) for match in matches if match]


def _readelf(option: str, library: Path) -> list[str]:
    command = ["readelf", "--wide", option, str(library)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _readable(symbol: str) -> str:
    answer = subprocess.run(["c++filt", symbol], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or symbol


def main() -> None:
    parser = argparse.ArgumentParser(description="Audit what the compiled library asks of torch.")
    parser.add_argument("file", type=Path, help="the library, or a wheel that holds it")
    file = parser.parse_args().file
    with tempfile.TemporaryDirectory() as folder:
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                file = Path(wheel.extract("fastdist/_extension.so", folder))
        problems = audit(file)
        needs = ", ".join(f"{name} {version}" for name, version in newest_runtimes(file).items())
    for problem in problems:
        print(f"abi audit: {problem}")
    if problems:
        sys.exit(1)
    print(f"abi audit: asks nothing that torch 2.10 does not have (and {needs})")


if __name__ == "__main__":
    main()
