"""One table of a run's results; losses are printed like wins."""

from __future__ import annotations

from typing import Any

HEADER = ("library", "median", "IQR", "ns/voxel", "CPU ns/v", "max error", "ours is", "by CPU")


def table(cases: dict[str, Any]) -> str:
    """All cases as text: one block a task, one line a library, and the floors below."""
    lines: list[str] = []
    tasks = dict.fromkeys(case["task"] for case in cases.values())
    for task in tasks:
        lines += ["", f"== {task}"]
        members = {name: case for name, case in cases.items() if case["task"] == task}
        if any("memory" in case for case in members.values()):
            lines += _memory(members)
            continue
        lines.append(_row(HEADER))
        for name, case in members.items():
            lines.append(f"{name}  [{case['threads']} thread{'s'[: case['threads'] != 1]}]")
            lines += [_row(row) for row in _rows(case)]
    return "\n".join([*lines, "", *floors(cases)])


def _rows(case: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for library, s in case["libraries"].items():
        ratio = case["ratios"].get(library)
        rows.append(
            (
                library,
                _time(s["wall"]),
                _time(s["wall_iqr"]),
                f"{s['wall_ns_per_voxel']:.2f}",
                f"{s['cpu_ns_per_voxel']:.2f}",
                "" if s["max_error"] is None else f"{s['max_error']:.1e}",
                "" if ratio is None else _times(ratio["wall"]),
                "" if ratio is None else _times(ratio["cpu"]),
            )
        )
    return rows


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def _row(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    return f"    {first:34}" + "".join(f"{cell:>14}" for cell in rest)


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _memory(cases: dict[str, Any]) -> list[str]:
    lines = []
    for name, case in cases.items():
        lines.append(name)
        for library, found in case["memory"].items():
            lines.append(
                f"    {library:34}{found['beyond'] / 2**20:10.1f} MiB"
                f"{found['bytes_per_voxel']:10.2f} B/voxel"
            )
    return lines


def floors(cases: dict[str, Any]) -> list[str]:
    """What was promised against what was reached, by wall clock and by CPU time."""
    lines = ["== floors: reached by the clock / by CPU time (wanted)"]
    for name, case in cases.items():
        for key, floor in case["floors"].items():
            met = floor["wall_met"], floor["cpu_met"]
            verdict = {(True, True): "met", (False, False): "MISSED"}.get(met, "met by one clock")
            lines.append(
                f"    {verdict:18}{name:68}{key:20}"
                f"{floor['wall']:8.1f} /{floor['cpu']:7.1f}   ({floor['wanted']:g})"
            )
    return lines
