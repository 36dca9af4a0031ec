"""The tables of docs/kernels.md, each made of docs/kernels.json alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import kernel_occupancy as occupancy

JSON = dict[str, Any]

# An H200 (sm_90), from the vendor's figures; its copy speed is that of a measured device copy.
MULTIPROCESSORS, SLOTS, CLOCK, COPY = 132, 4, 1.75e9, 4.3e12
FIRST, LAST = "columns<ExactFloat, true, false>", "columns<ExactFloat, true, true>"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _source(everything: JSON, part: str) -> str:
    about = everything[part]
    tools = [f"{tool} {about[tool]}" for tool in ("nvcc", "nvdisasm") if tool in about]
    return ", ".join([*tools, f"commit `{about['commit']}`", about["date"]])


def _base(kernel: str) -> str:
    """Kernels that are shown together: all numbers of columns, else all of one template."""
    return kernel if kernel.startswith("columns") else kernel.partition("<")[0]


def resources(everything: JSON) -> str:
    """Registers by architecture, and launches and occupancy on sm_90."""
    found = everything["resources"]["found"]
    names: dict[str, list[str]] = {}
    for kernel in sorted(found["9.0"]):
        names.setdefault(_base(kernel), []).append(kernel)
    head = ["kernel", *(f"sm_{a.replace('.', '')}" for a in found), "block on sm_90", "warps of 64"]
    rows = []
    for base, kernels in names.items():
        cells = []
        for of_architecture in found.values():
            used = [of_architecture[kernel][0] for kernel in kernels]
            cells.append(_range(used))
        blocks, warps = _launches(kernels, found["9.0"])
        count = f" ({len(kernels)})" if len(kernels) > 1 else ""
        rows.append([f"`{base}`{count}", *cells, blocks, warps])
    bad = [
        f"`{kernel}` on sm_{architecture}"
        for architecture, kernels in found.items()
        for kernel, numbers in kernels.items()
        if any(numbers[1:4])
    ]
    count = sum(len(kernels) for kernels in found.values())
    verdict = (
        f"Spills or stacks: {', '.join(bad)}."
        if bad
        else f"None of these {count} (kernel and architecture) spills or has a stack."
    )
    return f"{_table(head, rows)}\n\n{verdict} {_source(everything, 'resources')}."


def _range(values: Iterable[int]) -> str:
    values = sorted(values)
    return str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"


def _launches(kernels: list[str], found: JSON) -> tuple[str, str]:
    blocks, warps = [], []
    for number, launch in enumerate(occupancy.launches(kernels[0])):
        if launch.note in ("64 rows", "1024 rows"):
            continue
        fits = [
            occupancy.warps_per_multiprocessor(occupancy.launches(kernel)[number], found[kernel][0])
            for kernel in kernels
        ]
        shared = f", {launch.shared / 1024:.1f} KB" if launch.shared >= 1024 else ""
        blocks.append(f"{launch.note}{': ' if launch.note else ''}{launch.threads}{shared}")
        warps.append(_range(fits))
    return "; ".join(blocks), "; ".join(warps)


def _cases(everything: JSON, op: str) -> list[JSON]:
    return [case for case in everything["candidates"]["found"].values() if case["op"] == op]


def evaluations(one: JSON) -> float:
    """Candidates per voxel in a pass."""
    return one["anchor_candidates"] + 8 * one["run_rows"] + 16 * one["pair_rows"]


def steps(one: JSON) -> float:
    """The same where two that one instruction tries count as one."""
    return one["anchor_candidates"] + 8 * one["run_rows"] + 8 * one["pair_rows"]


#: Cubes of other sizes stand in the JSON file alone: their counts hardly differ.
SHOWN = "256^3"


def _shown(everything: JSON, op: str) -> list[JSON]:
    return [c for c in _cases(everything, op) if "^3" not in c["size"] or c["size"] == SHOWN]


def _most(everything: JSON, op: str) -> str:
    def most(number: Callable[[JSON], float], name: str) -> str:
        value, of = max(
            (number(one), f"{case['input']}, {case['size']}")
            for case in _cases(everything, op)
            if name in ("any input", case["input"])
            for one in case["passes"]
        )
        return f"{value:.1f} on {name} ({of})"

    said = [
        f"{', '.join(most(number, name) for name in ('any input', 'blobs'))}"
        for number in (evaluations, steps)
    ]
    return (
        f"Most, of all {len(_cases(everything, op))} cases with `{op}`: {said[0]}; "
        f"pairs counted once: {said[1]}."
    )


def candidates(everything: JSON) -> str:
    names = ["anchors", "rows of 8 / 16", "candidates", "warp: distances", "rows of 8 / 16"]
    head = ["input", "size", f"first pass: {names[0]}", *names[1:], f"last pass: {names[0]}"]
    head += names[1:]
    rows = []
    for case in _shown(everything, "signed map"):
        cells = []
        for one in case["passes"]:
            cells += [f"{one['anchor_candidates']:.2f}"]
            cells += [f"{one['run_rows']:.2f} / {one['pair_rows']:.2f}", f"{evaluations(one):.1f}"]
            cells += [f"{one['anchor_distances_warp']:.2f}"]
            cells += [f"{one['run_rows_warp']:.2f} / {one['pair_rows_warp']:.2f}"]
        cells = [""] * (10 - len(cells)) + cells  # an image's only pass is its last
        rows.append([case["input"], case["size"].replace(" x ", "x"), *cells])
    said = f"{_most(everything, 'signed map')} {_source(everything, 'candidates')}."
    return f"{_table(head, rows)}\n\n{said}"


def candidates_one_sided(everything: JSON) -> str:
    ops = ("edt inside", "edt outside")
    head = ["input", "size", *(f"{op}: {name}" for op in ops for name in ("first", "last pass"))]
    found = everything["candidates"]["found"]
    rows = []
    for case in _shown(everything, ops[0]):
        cells = []
        for op in ops:
            passes = found[f"{op}, {case['input']}, {case['size']}"]["passes"]
            cells += ["", *(f"{evaluations(one):.1f}" for one in passes)][-2:]
        rows.append([case["input"], case["size"].replace(" x ", "x"), *cells])
    said = " ".join(_most(everything, op) for op in ops)
    return f"{_table(head, rows)}\n\n{said}"


def machine_code(everything: JSON) -> str:
    """Instructions of the parts of the two kernels of a signed map."""
    found = everything["machine code"]["found"]
    head = ["part of `columns<ExactFloat>`", "a pass that squares end", "the last pass"]
    head += ["its ALU clocks", "its XU clocks"]
    rows = []
    for part, last in found[LAST].items():
        first = found[FIRST][part]
        numbers = [first["instructions"], last["instructions"], last["alu_clocks"]]
        rows.append([part, *(f"{n:g}" for n in [*numbers, last["xu_clocks"]])])
    for part, cost in found["planes"].items():
        numbers = [cost["instructions"], cost["alu_clocks"], cost["xu_clocks"]]
        rows.append([f"(before it) {part}", "", *(f"{n:g}" for n in numbers)])
    return f"{_table(head, rows)}\n\n{_source(everything, 'machine code')}."


def parts_of_pass(everything: JSON, one: JSON, last: bool) -> dict[str, float]:
    """Clocks of an issue slot, of each part of a pass, for the 32 voxels of a warp's row."""
    cost = everything["machine code"]["found"][LAST if last else FIRST]
    near = min(1.0, 16 * one["pair_runs_warp"])  # that part of the runs is of 16
    eights, sixteens = (1 - near) / 8, near / 16
    trips = {
        "load": [("load a voxel, from memory" if last else "load a voxel, from bits", 1.0)],
        "anchors": [
            ("anchor", one["anchors_warp"]),
            ("anchor, a distance", one["anchor_distances_warp"]),
        ],
        "rows": [
            ("run of 8, a row", one["run_rows_warp"]),
            ("run of 16, a row", one["pair_rows_warp"]),
        ],
    }
    for part in ("column", "epilogue", "other"):
        trips[part] = [(f"run of 8, {part}", eights), (f"run of 16, {part}", sixteens)]
    clocks = ("instructions", "alu_clocks", "xu_clocks")
    sums = {
        key: {c: sum(cost[part][c] * n for part, n in each) for c in clocks}
        for key, each in trips.items()
    }
    total = {c: sum(part[c] for part in sums.values()) for c in clocks}
    found = {key: part["instructions"] for key, part in sums.items()}
    return found | {"instructions": total["instructions"], "clocks": max(total.values())}


def instructions(everything: JSON) -> str:
    """Instructions that a warp issues for each of its rows of 32 voxels."""
    head = ["input", "pass", "load", "anchors", "runs' rows", "column", "epilogue"]
    head += ["other", "all", "a voxel", "clocks"]
    rows = []
    for case in _cases(everything, "signed map"):
        if case["size"] != SHOWN:
            continue
        for number, one in enumerate(case["passes"]):
            of = parts_of_pass(everything, one, last=number == 1)
            if one["anchors_warp"] == 0:
                continue  # constant: nothing is tried, nothing computed
            shown = [
                of[part] for part in ("load", "anchors", "rows", "column", "epilogue", "other")
            ]
            shown += [of["instructions"]]
            cells = [f"{n:.0f}" for n in shown]
            cells += [f"{of['instructions'] / 32:.1f}", f"{of['clocks']:.0f}"]
            rows.append([case["input"], ("first", "last")[number], *cells])
    return _table(head, rows)


#: Bytes a voxel on paper, of a signed map of one-byte masks in 3-D.
BYTES = {"pack_bytes": 1.5, "first pass": 4.5, "last pass": 8.5}


def predictions(everything: JSON) -> str:
    """Times on paper. Nothing here was measured."""
    found = everything["machine code"]["found"]["planes"]
    head = ["work", *(f"{step}, us" for step in BYTES), "all, us", "memory alone, us"]
    rows = []
    cases = {
        case["input"]: case for case in _cases(everything, "signed map") if case["size"] == SHOWN
    }
    for work, voxels in (("256^3", 2**24), ("512^3", 2**27)):
        for name, case in cases.items():
            first, last = case["passes"]
            if last["anchors_warp"] == 0:
                continue
            clocks = {
                "pack_bytes": max(found["pack_bytes, 1024 voxels"].values()) / 32,
                "first pass": parts_of_pass(everything, first, last=False)["clocks"],
                "last pass": parts_of_pass(everything, last, last=True)["clocks"],
            }
            memory = {step: voxels * count / COPY * 1e6 for step, count in BYTES.items()}
            scale = voxels / 32 / (MULTIPROCESSORS * SLOTS * CLOCK) * 1e6
            times = [max(count * scale, memory[step]) for step, count in clocks.items()]
            cells = [f"{t:.0f}" for t in [*times, sum(times), sum(memory.values())]]
            rows.append([f"{name}, {work}", *cells])
    return _table(head, rows)


TABLES = {
    "resources": resources,
    "candidates": candidates,
    "candidates one sided": candidates_one_sided,
    "machine code": machine_code,
    "instructions": instructions,
    "predictions": predictions,
}
