"""Instructions of the column passes' loops, counted in the machine code for sm_90.

nvdisasm reads the cubins: it comes with the CUDA toolkit, and alone as ``pip install
nvidia-cuda-nvdisasm``. Line numbers tell which function of csrc/cuda/kernels an instruction belongs
to, labels and branches where the loops are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cuda_toolkit
from kernel_resources import SOURCES, compiled, cubin_steps, demangled

KERNELS = SOURCES / "cuda" / "kernels"
# Clocks that a quarter of a multiprocessor is busy with an instruction of a warp: CUDA C++
# Programming Guide, "Arithmetic Instructions", 9.0. Of the pipes that are narrower than a warp:
PACK = "pack_bytes, 1024 voxels"
ALU = "FMNMX FSETP FSEL FSET ISETP SEL LOP3 SHF IADD3 VIADD VIMNMX VIADDMNMX IMNMX LEA PLOP3 PRMT"
CLOCKS = dict.fromkeys(ALU.split(), 2) | dict.fromkeys(("MUFU", "FLO", "POPC", "I2F", "F2I"), 8)


def nvdisasm() -> str | None:
    """The program: on PATH, of the toolkit, or of the package nvidia-cuda-nvdisasm."""
    places = [shutil.which("nvdisasm")]
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    places.append(str(Path(home) / "bin" / "nvdisasm"))
    for folder in sys.path:
        places += [str(path) for path in Path(folder or ".").glob("nvidia/*/bin/nvdisasm")]
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


def unavailable() -> str | None:
    """Why nothing can be counted here; None where it can."""
    return None if nvdisasm() else "there is no nvdisasm (pip install nvidia-cuda-nvdisasm)"


@cache
def version() -> str:
    answer = subprocess.run([str(nvdisasm()), "--version"], capture_output=True, text=True)
    found = re.search(r"release ([\d.]+)", answer.stdout)
    return found[1] if found else "unknown"


@dataclass(frozen=True)
class Instruction:
    opcode: str
    text: str
    places: tuple[tuple[str, int], ...]  # file and line, innermost inlined function first

    @property
    def functions(self) -> tuple[str, ...]:
        return tuple(function_at(*place) for place in self.places)


@cache
def _functions(file: str) -> list[str]:
    """The function that each line of a kernel header belongs to."""
    path, name, names = KERNELS / file, "", []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        if "ANYWHERE" not in line and not line.startswith("#"):
            line = re.sub(r"FASTDIST_BOUNDS\(.*?\) ", "", line)
            head = re.search(r"FASTDIST_(?:DEVICE|KERNEL)[^=;]*?[ &*](\w+|operator\(\))\(", line)
            name = head[1] if head else name
        names.append(name)
    return names


def function_at(file: str, line: int) -> str:
    names = _functions(file)
    return names[line - 1] if line <= len(names) else file


@cache
def _lines(file: str) -> list[str]:
    return (KERNELS / file).read_text(encoding="utf-8").splitlines()


class Code:
    """One kernel's instructions, and its loops: first and last instruction of each."""

    def __init__(self, lines: list[str]) -> None:
        self.instructions: list[Instruction] = []
        self.labels: dict[str, int] = {}
        places: list[tuple[str, int]] = []
        begun = False
        for line in lines:
            if label := re.match(r"(\.L_x_\d+):", line):
                self.labels[label[1]] = len(self.instructions)
            elif place := re.match(r'\s+//## File "([^"]+)", line (\d+)', line):
                if not begun:
                    places, begun = [], True
                places.append((Path(place[1]).name, int(place[2])))
            elif word := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?(([A-Z]\w*).*?) ;", line):
                self.instructions.append(Instruction(word[2], word[1], tuple(places)))
                begun = False
        self.loops = []
        for at, instruction in enumerate(self.instructions):
            target = re.match(r"BRA.*`\((\.L_x_\d+)\)", instruction.text)
            if target and self.labels.get(target[1], len(self.instructions)) <= at:
                self.loops.append((self.labels[target[1]], at))

    def around(self, inner: tuple[int, int]) -> tuple[int, int]:
        """The smallest loop that a loop is in."""
        outer = [x for x in self.loops if x != inner and x[0] <= inner[0] and x[1] >= inner[1]]
        return min(outer, key=lambda loop: loop[1] - loop[0])

    def loop(self, holds: str, *, opcode: str) -> tuple[int, int]:
        """The innermost loop that has an instruction of a function, and this opcode most often.

        Of an unrolled loop, that is the loop, and not what remains of it; of two alike, the one
        that is inside of more loops.
        """
        found = {}
        for first, last in self.loops:
            body = self.instructions[first : last + 1]
            count = sum(x.opcode == opcode for x in body)
            if count > 0 and any(holds in x.functions for x in body):
                found[first, last] = count
        innermost = {
            loop: count
            for loop, count in found.items()
            if not any(x != loop and loop[0] <= x[0] and x[1] <= loop[1] for x in found)
        }
        if not innermost:
            raise LookupError(
                f"no loop of {holds} with {opcode}: has {KERNELS.name}/*.cuh changed?"
            )

        def depth(loop: tuple[int, int]) -> int:
            return sum(x[0] <= loop[0] and loop[1] <= x[1] for x in self.loops)

        return max(innermost, key=lambda loop: (innermost[loop], depth(loop)))

    def cost(self, chosen: list[int] | range) -> dict[str, float]:
        opcodes = Counter(self.instructions[i].opcode for i in chosen)
        busy = {c: sum(n * c for op, n in opcodes.items() if CLOCKS.get(op) == c) for c in (2, 8)}
        return {"instructions": sum(opcodes.values()), "alu_clocks": busy[2], "xu_clocks": busy[8]}


def disassembled(cubin: Path) -> dict[str, Code]:
    command = [str(nvdisasm()), "-c", "-gi", str(cubin)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    symbols, codes = [], []
    for part in re.split(r"^\.text\.", text, flags=re.MULTILINE)[1:]:
        symbol, _, rest = part.partition(":\n")
        symbols.append(symbol)
        codes.append(Code(rest.partition("\n\t.section")[0].splitlines()))
    return dict(zip(demangled(symbols), codes, strict=True))


def counted(toolkit: cuda_toolkit.CudaToolkit) -> dict[str, Any]:
    """Per kernel, its parts: instructions, and clocks that the narrower pipes are busy, a unit."""

    def codes(name: str) -> dict[str, Code]:
        steps = cubin_steps("9.0", toolkit, only=name)
        compiled(steps)
        return disassembled(steps[0].target)

    passes = codes("passes_exact_float.cu")
    found = {
        name: _parts(passes[name])
        for name in ("columns<ExactFloat, true, false>", "columns<ExactFloat, true, true>")
    }
    found["planes"] = {PACK: _pack(codes("planes.cu")["pack_bytes<false>"])}
    return found


#: Lines of pack_bytes.cuh that masks without ignored voxels do not come by, in rows of 32 words.
ELSEWHERE = (
    "load_bytes(valid",
    "known &= word_of(bytes, nonzero_bytes)",
    "word_of(bytes, high_bits)",
    "if (any_ignored)",
    "bits = others",
    "to->bits",
    "to[plane] = linked",
    "link_row(",
)


def _pack(code: Code) -> dict[str, float]:
    """A warp's turn, 32 words. The scans of linked_word have one step in code, three in time."""
    text = _lines("pack_bytes.cuh")
    for part in ELSEWHERE:
        assert any(part in line for line in text), f"pack_bytes.cuh has no {part}"
    first, last = code.loop("load_bytes", opcode="LDG")

    def usual(at: int) -> bool:
        lines = [
            text[n - 1] for file, n in code.instructions[at].places if file == "pack_bytes.cuh"
        ]
        return not any(part in line for part in ELSEWHERE for line in lines)

    turn = [i for i in range(first, last + 1) if usual(i)]
    scans = [
        i
        for begin, end in code.loops
        if first < begin and end < last
        for i in range(begin, end + 1)
        if usual(i) and {"largest_before", "smallest_behind"} & {*code.instructions[i].functions}
    ]
    return code.cost([*turn, *scans, *scans])


def _parts(code: Code) -> dict[str, Any]:
    from_bits = code.loop("row_square", opcode="STS")
    from_memory = code.loop("load_values", opcode="LDG")
    anchor = code.loop("source_of", opcode="FSETP")
    anchors = code.around(anchor)

    def each(loop: tuple[int, int], opcode: str, per: int = 1) -> dict[str, float]:
        body = range(loop[0], loop[1] + 1)
        turns = sum(code.instructions[i].opcode == opcode for i in body) / per
        return {key: round(value / turns, 2) for key, value in code.cost(body).items()}

    outer = [i for i in range(anchors[0], anchors[1] + 1) if not anchor[0] <= i <= anchor[1]]
    parts = {
        "load a voxel, from bits": each(from_bits, "STS"),
        "load a voxel, from memory": each(from_memory, "STS"),
        "anchor": code.cost(outer),
        "anchor, a distance": each(anchor, "LDS", per=2),  # two candidates each
    }
    for count, function, opcode in ((8, "relax", "FMNMX"), (16, "relax_pairs", "VIADDMNMX")):
        rows = code.loop(function, opcode=opcode)
        parts[f"run of {count}, a row"] = each(rows, "LDS")
        # The rest of a run, on the way that a signed map without ignored voxels and clip takes.
        first, last = code.around(rows)
        rest = [i for i in range(first, last + 1) if not rows[0] <= i <= rows[1]]
        rest = [i for i in rest if _usual(code.instructions[i])]
        column = {"run_squares", "take_run_squares"}
        shares: dict[str, list[int]] = {"column": [], "epilogue": [], "other": []}
        for i in rest:
            functions = {*code.instructions[i].functions}
            key = (
                "column" if column & functions else "epilogue" if "store" in functions else "other"
            )
            shares[key].append(i)
        parts |= {f"run of {count}, {key}": code.cost(chosen) for key, chosen in shares.items()}
    return parts


#: Lines of columns.cuh that signed maps without ignored voxels and clip do not come by.
UNUSUAL = (
    "results[k] = sign.clipped(results[k]);",
    "const Value squared = value(first + k);",
    "results[k] = squared < A::far()",
)


def _usual(instruction: Instruction) -> bool:
    text = _lines("columns.cuh")
    for part in UNUSUAL:
        assert any(part in line for line in text), f"columns.cuh has no {part}"
    if {"store_special", "is_ignored"} & {*instruction.functions}:
        return False
    lines = [text[n - 1] for file, n in instruction.places if file == "columns.cuh"]
    return not any(part in line for part in UNUSUAL for line in lines)
