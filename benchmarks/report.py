"""``python -m benchmarks.report FILE...``: the results in a document, from the committed JSON.

What stands between ``<!-- benchmarks -->`` and ``<!-- /benchmarks -->`` is replaced by all of a
result file; between ``<!-- benchmarks: headlines -->`` and the same end by the cases that matter
most. With ``--check`` nothing is written, and the exit status is 1 where a document is stale. The
result file is named in the section itself and is kept unless ``--json`` says otherwise.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, newest, read
from benchmarks.table import CLOCKS, best_other, clock_of, seconds

SECTION = re.compile(r"<!-- benchmarks(: headlines)? -->.*?<!-- /benchmarks -->", re.DOTALL)
ROOT = Path(__file__).parent.parent
HEADLINES = (
    "signed map, 256^3 blobs",
    "signed map, 512^3 blobs",
    "signed map, 128^3 lesions, patient 19",
    "signed map, 256^3 blobs, spacing (1,1,3)",
    "signed map, 16 x 256^2 lesions",
    "signed map, 16 x 256^2 blobs",
    "signed map, 256 x 1024^2 blobs",
    "signed map, 2048^2 blobs",
    "class maps, 256^3, five classes",
    "class maps, 2 x 128^3, 5 classes",
    "distance_transform_edt, 128^3 blobs",
    "indices, 128^3 blobs, spacing 1",
    "indices, 96^3 outside of lesions, spacing (.8, .46875, .46875)",
    "labels, subcortical",
    "boundary loss, forward + backward, B2 C5 128^3 float32",
)
STEP = "Dice + CE + boundary loss, "
TASKS_OF_THEIR_OWN = ("adversarial inputs", "memory", "errors of maps", "training step")


def section(path: Path, headlines: bool) -> str:
    """The Markdown of one result file, markers included."""
    results = read(path)
    environment, cases = results["environment"], results["cases"]
    lines = [
        f"<!-- benchmarks{': headlines' if headlines else ''} -->",
        _about(environment, cases, path),
    ]
    shown = {
        name: case
        for name, case in cases.items()
        if (name in HEADLINES if headlines else case["task"] not in TASKS_OF_THEIR_OWN)
    }
    lines += ["", *_table(shown, headlines), "", *_steps(cases)]
    if not headlines:
        lines += [*_adversarial(cases), *_memory(cases), *_errors(cases)]
    lines += [*_left_out(cases), _not_measured(environment), "", "<!-- /benchmarks -->"]
    return "\n".join(lines)


def _about(environment: dict[str, Any], cases: dict[str, Any], path: Path) -> str:
    device = environment.get("device", "cpu")
    packages = {k: v for k, v in environment["packages"].items() if v is not None}
    level = (environment["extension"] or {}).get("cpu_level", "none")
    where = f"{environment['cpu']}, {environment['cores']} cores, vector level {level}"
    if isinstance(device, dict):
        where = f"{device['name']}, CUDA {device['cuda']}; host {environment['cpu']}"
    elif environment["threads"]:
        where += f"; {environment['threads']} thread{'s'[: environment['threads'] != 1]}"
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    command, commit = _said(cases, "command", "python -m benchmarks"), _said(cases, "commit", "?")
    return (
        f"{where}; fastdist {environment['fastdist']}, Python {environment['python']}, {versions}."
        f" {command} at {commit}, `{path.relative_to(ROOT)}`."
    )


def _said(cases: dict[str, Any], key: str, otherwise: str) -> str:
    """The commands, or commits, that the cases come from: those of most cases first."""
    found = Counter(case.get(key) or otherwise for case in cases.values())
    return ", ".join(f"`{value}`" for value, _ in found.most_common())


def _table(cases: dict[str, Any], headlines: bool) -> list[str]:
    head = ["case", "fastdist", "ns/voxel", "SciPy", "best other", "IQR", "the others"]
    if headlines:
        head = head[:5]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, case in cases.items():
        if "libraries" not in case:
            continue
        clock = clock_of(case)
        ours = case["libraries"][case["ours"]]
        rival = best_other(case)
        cells = [
            name,
            seconds(ours[clock]),
            f"{ours[f'{clock}_ns_per_voxel']:.3g}",
            _ratio(case, "SciPy", clock),
            f"{_ratio(case, rival, clock)} {rival}" if rival else "",
            f"{ours[f'{clock}_iqr'] / ours[clock]:.0%}",
            "; ".join(
                f"{library}{' (approximate)' if summary.get('approximate') else ''}"
                f" {_ratio(case, library, clock)}"
                for library, summary in case["libraries"].items()
                if library not in (case["ours"], "SciPy", rival)
            ),
        ]
        lines.append(f"| {' | '.join(cells[: len(head)])} |")
    return lines


def _ratio(case: dict[str, Any], library: str, clock: str) -> str:
    """How many times as long the other library takes; below 1 it is the faster one."""
    if library not in case["ratios"]:
        return ""
    ratio = case["ratios"][library][clock]
    return f"{ratio:.2g}x" if ratio < 10 else f"{ratio:.0f}x"


def _steps(cases: dict[str, Any]) -> list[str]:
    lines = []
    for name, case in cases.items():
        if case["task"] != "training step":
            continue
        clock = clock_of(case)
        alone = case["libraries"][case["beyond"]]
        added = ", ".join(
            f"{library.removeprefix(STEP)} {share[clock]:+.1%}"
            for library, share in case["added"].items()
            if library.startswith(STEP)
        )
        lines += [
            f"{name[0].upper()}{name[1:]}: {seconds(alone[clock])} with {case['beyond']} (IQR"
            f" {alone[f'{clock}_iqr'] / alone[clock]:.0%}); the boundary loss adds to the shortest"
            f" step: {added}.",
            "",
        ]
    return lines


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


def _errors(cases: dict[str, Any]) -> list[str]:
    lines = []
    for name, case in cases.items():
        if "errors" in case:
            found = ", ".join(
                f"{kind} {one['mean_relative']:.1%} (at most {one['max']:.1f} pixels)"
                for kind, one in case["errors"].items()
                if kind != "exact"
            )
            lines.append(f"{name[0].upper()}{name[1:]}, mean relative error: {found}.\n")
    return lines


def _left_out(cases: dict[str, Any]) -> list[str]:
    """Peers that were absent, or failed, in any case."""
    absent = {peer for case in cases.values() for peer in case.get("missing", {})}
    failed = {
        f"{peer} in {name} ({why})"
        for name, case in cases.items()
        for peer, why in case.get("failed", {}).items()
    }
    lines = []
    if absent:
        lines += [f"Not installed where this was measured: {', '.join(sorted(absent))}.", ""]
    if failed:
        lines += [f"Failed: {'; '.join(sorted(failed))}.", ""]
    return lines


def _not_measured(environment: dict[str, Any]) -> str:
    gpus = sorted(RESULTS.glob("*-cuda-*.json"))
    if isinstance(environment.get("device"), dict):
        return "Times are device time by CUDA events, medians."
    times = (
        f"Times are {CLOCKS['cpu']}, medians; a ratio says how many times as long the other library"
        " takes: below 1x it is the faster one."
    )
    if gpus:
        return f"{times} GPUs: {', '.join(f'`benchmarks/results/{g.name}`' for g in gpus)}."
    return f"{times} **Not measured: any GPU.**"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="default: the one that the document names")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    stale = []
    for document in options.documents:
        text = document.read_text()
        new = SECTION.sub(lambda found: _replaced(found, options.json), text)
        if not SECTION.search(text):
            stale.append(f"{document} (has no section)")
        elif new != text:
            stale.append(str(document))
            if not options.check:
                document.write_text(new)
    if options.check and stale:
        print(f"stale, run python -m benchmarks.report: {', '.join(stale)}")
        return 1
    return 0


def _replaced(found: re.Match[str], chosen: Path | None) -> str:
    named = re.search(r"`(benchmarks/results/\S+\.json)`\.\n", found.group())
    path = chosen or (ROOT / named.group(1) if named else newest())
    return section(path.resolve(), headlines=found.group(1) is not None)


if __name__ == "__main__":
    sys.exit(main())
