"""What nvcc makes of the kernels: registers, stack, spills, shared memory, occupancy.

    python scripts/kernel_report.py                      # a table, for sm_90's occupancy
    python scripts/kernel_report.py --check              # exit status 1 where a kernel spills
    python scripts/kernel_report.py --arch 7.5 9.0       # these architectures alone
    python scripts/kernel_report.py --json FILE          # all of it
    python scripts/kernel_report.py --document           # docs/kernels.json and docs/kernels.md

No GPU is needed. `--document` also counts instructions, where nvdisasm is installed
(kernel_machine_code.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import kernel_document
import kernel_machine_code
import kernel_occupancy as occupancy
from kernel_resources import ARCHITECTURES, ROOT, Resources, reports

#: Kernels that may use local memory, each with its reason: none does.
MAY_SPILL: dict[str, str] = {}

Reports = dict[str, dict[str, Resources]]


def failures(found: Reports) -> list[str]:
    """A line for each kernel and architecture with a spill or a stack."""
    return [
        f"sm_{architecture.replace('.', '')}: {kernel}: {r.stack} bytes of stack,"
        f" {r.spill_stores} + {r.spill_loads} bytes spilled"
        for architecture, kernels in found.items()
        for kernel, r in kernels.items()
        if not r.in_registers and kernel not in MAY_SPILL
    ]


def table(found: Reports) -> str:
    """Registers by architecture, and the occupancy of sm_90 where that was compiled for."""
    names = sorted({kernel for kernels in found.values() for kernel in kernels})
    head = ["kernel", *(f"sm_{name.replace('.', '')}" for name in found), "warps of 64 on sm_90"]
    lines = [f"{head[0]:42}" + "".join(f"{cell:>8}" for cell in head[1:-1]) + f"  {head[-1]}"]
    for kernel in names:
        of_kernel = [kernels.get(kernel) for kernels in found.values()]
        cells = [
            "-" if r is None else f"{r.registers}{'' if r.in_registers else '!'}" for r in of_kernel
        ]
        lines.append(
            f"{kernel:42}" + "".join(f"{cell:>8}" for cell in cells) + _warps(found, kernel)
        )
    return "\n".join(lines)


def _warps(found: Reports, kernel: str) -> str:
    resources = found.get("9.0", {}).get(kernel)
    if resources is None:
        return ""
    shown = [
        f"{occupancy.warps_per_multiprocessor(launch, resources.registers)}"
        f" ({launch.threads} threads, {launch.shared} B{', ' if launch.note else ''}{launch.note})"
        for launch in occupancy.launches(kernel)
    ]
    return "  " + "; ".join(shown)


def as_json(found: Reports) -> dict[str, dict[str, list[int]]]:
    return {name: {k: r.as_list() for k, r in kernels.items()} for name, kernels in found.items()}


def commit() -> str:
    """The commit that is checked out, with a plus sign where csrc differs from it."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    head = git("rev-parse", "--short", "HEAD")
    return (head or "unknown") + ("+" if git("status", "--porcelain", "csrc") else "")


def document(found: Reports) -> None:
    from compile_extension import _toolkit

    toolkit = _toolkit()
    assert toolkit is not None, "reports() has found one"
    kernel_document.record("resources", as_json(found), commit(), nvcc=toolkit.version)
    reason = kernel_machine_code.unavailable()
    if reason is None:
        counted = kernel_machine_code.counted(toolkit)
        about = {"nvcc": toolkit.version, "nvdisasm": kernel_machine_code.version()}
        kernel_document.record("machine code", counted, commit(), **about)
    else:
        print(f"no instructions counted: {reason}")
    kernel_document.write()


def main() -> None:
    parser = argparse.ArgumentParser(description="What nvcc makes of the kernels.")
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES, metavar="9.0")
    parser.add_argument("--check", action="store_true", help="fail where a kernel spills")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--document", action="store_true", help="docs/kernels.json, docs/kernels.md"
    )
    arguments = parser.parse_args()
    found = reports(arguments.arch)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    if arguments.document:
        document(found)
    if arguments.check:
        count = sum(len(kernels) for kernels in found.values())
        if bad := failures(found):
            print("\n".join(["kernels with spills or a stack in local memory:", *bad]))
            sys.exit(1)
        print(f"{count} kernels for {', '.join(found)}: no spill, no stack")
    elif not (arguments.document or arguments.json):
        print(table(found))


if __name__ == "__main__":
    main()
