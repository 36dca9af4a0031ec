"""How many warps an sm_90 multiprocessor holds, of kernels as the host code launches them."""

from __future__ import annotations

import re
from typing import NamedTuple

from kernel_resources import constants

# CUDA C++ Programming Guide, "Compute Capabilities", 9.0; and CUDA's own kilobyte of each block.
REGISTERS, WARPS, BLOCKS, SHARED = 65536, 64, 32, 228 * 1024
SHARED_OF_BLOCK, RESERVED = 227 * 1024, 1024


class Launch(NamedTuple):
    """Threads and dynamic shared bytes of a block, and of what input that is so."""

    threads: int
    shared: int
    note: str = ""


def columns_shared(length: int, value_bytes: int) -> int:
    """Shared bytes of a block of columns: ``column_bytes`` (csrc/cuda/kernels/column.cuh)."""
    c = constants()
    lanes, anchors = c["kLanes"], (length + c["kRun"] - 1) // c["kRun"] + 1
    tables = ((length + 31) // 32 * 4 + anchors) * lanes * 4
    return 32 + (length + c["kRowsBehind"]) * lanes * value_bytes + tables


def columns_warps(length: int) -> int:
    """Warps of a block, where there are many: ``PassRunner::warps`` (csrc/cuda/passes.inl)."""
    return min((length + 31) // 32, constants()["kColumnThreads"] // 32)


LENGTHS = (64, 128, 256, 512, 1024)
VALUES = {"ExactFloat": 4, "Int": 4, "AnyFloat": 4, "Long": 8, "AnyDouble": 8}


def launches(kernel: str) -> list[Launch]:
    """How the host launches a kernel, one entry for each length of columns; see csrc/cuda/*.cu."""
    c = constants()
    name, _, parameters = kernel.partition("<")
    if name == "columns":
        numbers, in_shared, _ = parameters.rstrip(">").split(", ")
        value = VALUES[numbers]
        if in_shared == "false":
            return [Launch(c["kColumnThreads"], 0, "longer columns")]
        return [
            Launch(columns_warps(n) * 32, columns_shared(n, value), f"{n} rows")
            for n in LENGTHS
            if columns_shared(n, value) <= SHARED_OF_BLOCK
        ]
    threads = {
        "rows": c["kRowThreads"],
        "finish": c["kFinishThreads"],
        "pack_bytes": c["kByteThreads"],
        "make_lengths": 128,
        "add_partials": c["kSumsThreads"],
    }
    shared = {"pack": c["kPackThreads"] // 32 * 4, "pack_bytes": 4, "add_partials": 64}
    if re.match(r"sums_|gradient_", name):
        threads[name] = c["kSumsThreads"]
        double = 8 if "<double" in kernel else 4
        channels = 2 * c["kFewChannels"] + 1
        shared["sums_few"] = c["kSumsThreads"] // 32 * channels * 4
        shared["sums_any"] = c["kAnyChunk"] * (2 * double + 4)
    elif re.match(r"search_", name):
        threads[name] = c["kSearchThreads"]
    elif re.match(r"find_largest|divide_by", name):
        threads[name] = c["kNormalizeThreads"]
    return [Launch(threads.get(name, c["kPackThreads"]), shared.get(name, 0))]


def warps_per_multiprocessor(launch: Launch, registers: int) -> int:
    """Of 64; registers are handed out to warps in units of 256."""
    warps = launch.threads // 32
    registers_of_warp = (registers * 32 + 255) // 256 * 256
    by_registers = REGISTERS // registers_of_warp // warps
    by_shared = SHARED // (launch.shared + RESERVED)
    return min(WARPS // warps, BLOCKS, by_registers, by_shared) * warps
