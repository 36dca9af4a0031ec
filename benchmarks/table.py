"""One table of a run's results; losses are printed like wins."""

from __future__ import annotations

from typing import Any

HEADER = (
    "library", "median", "IQR", "ns/voxel", "wall clock", "max error", "peak MiB", "to SciPy",
    "fastdist is",
)  # fmt: skip
WIDTHS = (44, 10, 10, 10, 11, 10, 10, 17, 17)
#: What is measured beside the libraries: yardsticks, and ourselves in other ways.
YARDSTICKS = (
    "read and write alone",
    "device copy of the same bytes",
    "softmax times a constant",
)
CLOCKS = {"cpu": "CPU time", "device": "device time", "wall": "wall clock"}


def is_peer(library: str) -> bool:
    """Another library's entrant: neither ours nor a yardstick."""
    return "fastdist" not in library and library not in YARDSTICKS


def best_other(case: dict[str, Any]) -> str | None:
    """The fastest exact peer of a case, by the case's clock."""
    clock = clock_of(case)
    peers = {
        name: summary[clock]
        for name, summary in case["libraries"].items()
        if is_peer(name) and not summary.get("approximate") and case["task"] != "training step"
    }
    return min(peers, key=peers.__getitem__) if peers else None


def clock_of(case: dict[str, Any]) -> str:
    return case.get("clock", "cpu")


def scipy_of(case: dict[str, Any]) -> str | None:
    return "SciPy" if "SciPy" in case["libraries"] else None


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
        if any("errors" in case for case in members.values()):
            lines += _errors(members)
            continue
        lines.append(_row(HEADER))
        for name, case in members.items():
            lines += [_title(name, case), *[_row(row) for row in _rows(case)], *_left_out(case)]
    return "\n".join([*lines, "", *floors(cases)])


def _title(name: str, case: dict[str, Any]) -> str:
    text = f"{name}  [{CLOCKS[clock_of(case)]}"
    if case["threads"]:
        text += f", {case['threads']} thread{'s'[: case['threads'] != 1]}"
    if (speed := _speed(case)) is not None:
        text += f"; {speed[0] / 1e9:.0f} GB/s, {speed[1]:.0%} of a copy's speed"
    rival = best_other(case)
    if rival is not None:
        ratio = case["ratios"][rival][clock_of(case)]
        text += f"; {_times(ratio)} than the best other, {rival}"
    return text + "]"


def _speed(case: dict[str, Any]) -> tuple[float, float] | None:
    """Bytes that must move over the time taken, and that time against a plain copy's."""
    copy = case["libraries"].get("device copy of the same bytes")
    if copy is None:
        return None
    ours = case["libraries"][case["ours"]]["device"]
    return case["bytes_moved"] / ours, copy["device"] / ours


def _rows(case: dict[str, Any]) -> list[tuple[str, ...]]:
    rows, clock, scipy = [], clock_of(case), scipy_of(case)
    for library, s in case["libraries"].items():
        ratio = case["ratios"].get(library)
        to_scipy = case["libraries"][scipy][clock] / s[clock] if scipy else None
        peak = s.get("peak_bytes")
        rows.append(
            (
                library + (" (approximate)" if s.get("approximate") else ""),
                seconds(s[clock]),
                seconds(s[f"{clock}_iqr"]),
                f"{s[f'{clock}_ns_per_voxel']:.3g}",
                seconds(s["wall"]),
                "" if s["max_error"] is None else f"{s['max_error']:.1e}",
                "" if peak is None else f"{peak / 2**20:.1f}",
                "" if to_scipy is None or library == scipy else _times(to_scipy),
                "" if ratio is None else _times(ratio[clock]),
            )
        )
    return rows


def _left_out(case: dict[str, Any]) -> list[str]:
    lines = [f"    not installed: {name} ({how})" for name, how in case["missing"].items()]
    return lines + [f"    FAILED: {name}: {why}" for name, why in case.get("failed", {}).items()]


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def _row(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    text = "".join(f"{cell:>{width}}" for cell, width in zip(rest, WIDTHS[1:], strict=True))
    return f"    {first:{WIDTHS[0]}}{text}"


def seconds(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if value * scale >= 0.9995:  # which three digits show as 1
            return f"{value * scale:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


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


def _errors(cases: dict[str, Any]) -> list[str]:
    lines = []
    for name, case in cases.items():
        lines.append(name)
        for library, found in case["errors"].items():
            lines.append(
                f"    {library:34}{found['mean_relative']:10.1%} mean relative error"
                f"{found['max']:10.1f} at most"
            )
    return lines


def floors(cases: dict[str, Any]) -> list[str]:
    """What was promised against what was reached, by the wall clock and by the case's own."""
    lines = ["== floors: reached by the wall clock / by the case's own (wanted)"]
    for name, case in cases.items():
        clock = clock_of(case)
        for key, floor in case["floors"].items():
            met = floor["wall_met"], floor[f"{clock}_met"]
            verdict = {(True, True): "met", (False, False): "MISSED"}.get(met, "met by one clock")
            lines.append(
                f"    {verdict:18}{name:74}{key:24}"
                f"{floor['wall']:8.2f} /{floor[clock]:8.2f}   ({floor['wanted']:.4g})"
            )
    return lines
