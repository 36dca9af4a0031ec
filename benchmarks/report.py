"""``python -m benchmarks.report FILE...``: the table of results in a document, from a result file.

What stands between ``<!-- benchmarks -->`` and ``<!-- /benchmarks -->`` is replaced. With
``--check`` nothing is written, and the exit status is 1 where a document is stale. The document's
result file is named in the section itself and is kept unless ``--json`` says otherwise.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, read

START, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
ROOT = Path(__file__).parent.parent
SHOWN = (
    "signed map",
    "class maps",
    "distance_transform_edt",
    "numba",
    "boundary loss",
)


def section(path: Path) -> str:
    """The Markdown of one result file, markers included."""
    results = read(path)
    environment, cases = results["environment"], results["cases"]
    packages = {k: v for k, v in environment["packages"].items() if v is not None}
    level = (environment["extension"] or {}).get("cpu_level", "none")
    lines = [
        START,
        f"{environment['cpu']}, {environment['cores']} cores, vector level {level};"
        f" {environment['threads']} thread; fastdist {environment['fastdist']},"
        f" Python {environment['python']}, "
        + ", ".join(f"{name} {version}" for name, version in packages.items())
        + f". `python -m benchmarks`, `{path.relative_to(ROOT)}`.",
        "",
        "| case | fastdist, ns/voxel | new output | others, ns/voxel: how many times ours |",
        "|---|---|---|---|",
        *[_line(n, c) for n, c in cases.items() if n.startswith(SHOWN) and "libraries" in c],
        "",
        *_adversarial(cases),
        *_memory(cases),
        END,
    ]
    return "\n".join(lines)


def _line(name: str, case: dict[str, Any]) -> str:
    libraries = dict(case["libraries"])
    ours = libraries.pop(case["ours"])
    fresh = libraries.pop("fastdist, new output", None)
    others = [
        f"{library} {_ns(summary)}: {case['ratios'][library]['cpu']:.2g}"
        if case["ratios"][library]["cpu"] < 10
        else f"{library} {_ns(summary)}: {case['ratios'][library]['cpu']:.0f}"
        for library, summary in libraries.items()
        if library != "read and write alone"
    ]
    cells = [name, _ns(ours), _ns(fresh) if fresh else "", "; ".join(others)]
    return "| " + " | ".join(cells) + " |"


def _ns(summary: dict[str, Any]) -> str:
    value = summary["cpu_ns_per_voxel"]
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _adversarial(cases: dict[str, Any]) -> list[str]:
    found = {
        name.removeprefix("adversarial, "): case["libraries"][case["ours"]]["cpu_ns_per_voxel"]
        for name, case in cases.items()
        if name.startswith("adversarial")
    }
    if not found:
        return []
    worst = max(found, key=found.__getitem__)
    return [
        f"Of {len(found)} inputs meant to be slow the worst is {worst}:"
        f" {found[worst]:.1f} ns/voxel.",
        "",
    ]


def _memory(cases: dict[str, Any]) -> list[str]:
    lines = []
    for name, case in cases.items():
        if "memory" in case:
            used = ", ".join(
                f"{library} {found['bytes_per_voxel']:.1f} B/voxel"
                for library, found in case["memory"].items()
            )
            lines.append(f"{name[0].upper()}{name[1:]}: {used}.\n")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="default: the one that the document names")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    stale = []
    for document in options.documents:
        text = document.read_text()
        start, end = text.index(START), text.index(END) + len(END)
        named = re.search(r"`(benchmarks/results/\S+\.json)`", text[start:end])
        newest = max(RESULTS.glob("*.json"), key=lambda file: file.stat().st_mtime, default=None)
        path = options.json or (ROOT / named.group(1) if named else newest)
        new = text[:start] + section(path.resolve()) + text[end:]
        if new != text:
            stale.append(str(document))
            if not options.check:
                document.write_text(new)
    if options.check and stale:
        print(f"stale, run python -m benchmarks.report: {', '.join(stale)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
