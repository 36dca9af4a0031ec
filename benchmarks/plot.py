"""``python -m benchmarks.plot [JSON]``: pictures from a result file, for light and dark pages.

Writes scaling, cases, loss, step, memory and errors, each as ``<name>-light.png`` and
``<name>-dark.png``, into docs/pictures; of a GPU's results ``<name>-gpu-...``. Times are those of
the case's clock: CPU time, which other work on the same machine does not lengthen, or a GPU's
device time; with ``--wall`` they are by the wall clock.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import errors
from benchmarks.drawing import FLOORS, STYLES, THEMES, Page
from benchmarks.record import newest, read
from benchmarks.table import CLOCKS, clock_of, seconds

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
OURS_OTHERWISE = ("fastdist, new output", "fastdist, CUDA graph")  # too near to be told apart


class Painter:
    """One result file on one page, by one clock."""

    def __init__(self, results: dict[str, Any], theme: str, folder: Path, wall: bool) -> None:
        self.cases = results["cases"]
        environment = results["environment"]
        device = environment.get("device", "cpu")
        self.gpu = gpu = isinstance(device, dict)
        self.clock = "wall" if wall else clock_of(next(iter(self.timed().values()), {}))
        where = device["name"] if gpu else environment["cpu"]
        threads = environment["threads"]
        where += f", {threads} thread{'s'[: threads != 1]}" if threads and not gpu else ""
        note = f"{where}; fastdist {environment['fastdist']}"
        self.page = Page(theme, note, folder, "-gpu" if gpu else "")
        self.times = f"; medians, {CLOCKS[self.clock]}"

    def timed(self, start: str = "") -> dict[str, Any]:
        found = {n: c for n, c in self.cases.items() if n.startswith(start) and "libraries" in c}
        if start and not found:
            raise KeyError(start)
        return found

    def scaling(self) -> None:
        """Time against voxels, blobs of 2-D and 3-D images, and the time that the bytes take."""
        page = self.page
        figure, axes = page.figure(2, (10, 4.8), "Signed distance map of a mask: time against size")
        for axis, ndim in zip(axes, (2, 3), strict=True):
            lines: dict[str, list[tuple[int, float]]] = {}
            for name, case in self.timed("signed map").items():
                batch = " x " in name and not (ndim == 2 and self.gpu)  # a GPU is fed in batches
                if name.endswith(f"^{ndim} blobs") and not batch:
                    for library, summary in case["libraries"].items():
                        if library in STYLES and library not in OURS_OTHERWISE:
                            point = (case["voxels"], 1e3 * summary[self.clock])
                            lines.setdefault(library, []).append(point)
            if not lines:
                axis.set_axis_off()
                continue
            for library, points in lines.items():
                colour, marker = page.style(library)
                floor = library in FLOORS
                axis.loglog(
                    *zip(*sorted(points), strict=True),
                    color=colour,
                    marker=None if floor else marker,
                    linestyle=":" if floor else "-",
                    linewidth=2.4 if library == "fastdist" else 1.5,
                    markersize=6,
                    label="byte floor: read, write" if floor else library,
                )
            page.label(axis, "voxels", "milliseconds", f"{ndim}-D, blobs filling 30 %")
            low, high = axis.get_ylim()
            axis.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
            handles, labels = axis.get_legend_handles_labels()
            tops = [max(v for _, v in points) for points in lines.values()]
            order = sorted(range(len(labels)), key=lambda i: -tops[i])
            page.legend(
                axis, handles=[handles[i] for i in order], loc="upper left", ncol=2, fontsize=8.5
            )
        page.save(figure, "scaling", self.times)

    def by_case(self) -> None:
        """One row a case, one dot a library, nanoseconds a voxel."""
        page = self.page
        wanted = ("signed map", "class maps", "distance_transform_edt", "labels")
        sizes = (" 32^3", " 64^3", " 256^2 blobs", " 512^2", " 1024^2")
        rows = {
            name: case
            for name, case in self.timed().items()
            if name.startswith(wanted) and not any(size in name for size in sizes)
        }
        if self.gpu:  # there, every size meets every input: one size is enough
            shown = ("signed map, 256^3", "signed map, real", "class maps")
            rows = {n: c for n, c in rows.items() if n.startswith(shown) or n.endswith("blobs")}
        figure, (axis,) = page.figure(1, (10, 1.8 + 0.34 * len(rows)), "Nanoseconds a voxel")
        seen: set[str] = set()
        for row, case in enumerate(reversed(rows.values())):
            values = {k: s[f"{self.clock}_ns_per_voxel"] for k, s in case["libraries"].items()}
            values = {k: v for k, v in values.items() if k in STYLES and k not in OURS_OTHERWISE}
            axis.plot([min(values.values()), max(values.values())], [row, row], color=page.fine)
            for library, value in values.items():
                colour, marker = page.style(library)
                shown = library.split("(")[0]  # edt is called in two ways
                label = None if shown in seen else shown
                seen.add(shown)
                width = {"markeredgewidth": 2.0} if marker == "_" else {}
                shape = "|" if marker == "_" else marker
                axis.plot(value, row, shape, color=colour, label=label, markersize=8, **width)
        axis.set_xscale("log")
        names = [_printed(name) for name in reversed(rows)]
        axis.set_yticks(range(len(rows)), names, fontsize=8.5)
        axis.set_ylim(-0.6, len(rows) - 0.4)
        page.label(axis, "ns/voxel (logarithmic; further left is faster)", title="\n\n ")
        page.legend(axis, loc="lower right", bbox_to_anchor=(1.01, 1.0), ncol=4, columnspacing=1)
        page.save(figure, "cases", self.times)

    def loss(self) -> None:
        """Bars: the boundary loss by itself."""
        name = "boundary loss, forward + backward, B2 C5 128^3 float32"
        case = self.timed(name)[name]
        values = {k: s[self.clock] for k, s in case["libraries"].items()}
        values = dict(sorted(values.items(), key=lambda item: item[1]))
        figure, (axis,) = self.page.figure(
            1, (8, 0.9 + 0.45 * (len(values) + 1)), "The boundary loss, forward and backward"
        )
        self.page.bars(axis, values, lambda k: seconds(values[k]))
        self.page.label(axis, "seconds, 2 items of 5 classes, 128³, float32")
        self.page.save(figure, "loss", self.times)

    def step(self) -> None:
        """Bars: a training step with the regional loss alone, and what each library adds to it."""
        cases = self.timed("training step")
        width = max(len(case["libraries"]) for case in cases.values())
        figure, axes = self.page.figure(
            1,
            (9, (0.6 + 0.36 * width) * len(cases) + 0.8),
            "A training step, and what the boundary loss adds to it",
            rows=len(cases),
        )
        for axis, (name, case) in zip(np.ravel(axes), cases.items(), strict=True):
            shortest = f"{self.clock}_min"
            times = {k: s[shortest] for k, s in case["libraries"].items() if "Dice + CE" in k}
            alone, added = case["beyond"], case["added"]
            times = dict(sorted(times.items(), key=lambda item: (item[0] != alone, item[1])))

            def text(k: str, times: dict = times, added: dict = added) -> str:
                more = f"  ({added[k][self.clock]:+.1%})" if k in added else ""
                return seconds(times[k]) + more

            self.page.bars(axis, times, text, base=times[alone])
            title = _printed(name.removeprefix("training step, "))
            self.page.label(axis, title=f"{title}; seconds")
        self.page.save(figure, "step", self.times.replace("medians", "shortest steps"))

    def memory(self) -> None:
        """Bars: scratch memory of a signed map."""
        case = self.cases["memory, signed map, 256^3, beyond the output"]
        used = {k: found["bytes_per_voxel"] for k, found in case["memory"].items()}
        title = "Memory of a signed map beyond its output"
        figure, (axis,) = self.page.figure(1, (8, 0.9 + 0.45 * (len(used) + 1)), title)
        self.page.bars(axis, used, lambda k: f"{used[k]:.1f} B")
        self.page.label(axis, "bytes a voxel at 256³, uint8 mask")
        self.page.save(figure, "memory")

    def errors(self) -> None:
        """A strip of maps of the same lesions, and below each how far it is from the exact one."""
        found = self.cases["errors of maps, lesions of patient 19"]["errors"]
        maps = {name: one for name, one in errors.maps().items() if name in found}
        page = self.page
        figure, axes = page.figure(
            len(maps), (3 * len(maps), 6.6), "Maps that are not computed exactly", rows=2
        )
        for column, (name, one) in enumerate(maps.items()):
            top, bottom = axes[0][column], axes[1][column]
            reach = float(np.abs(maps["exact"].exact).max())
            top.imshow(one.got, cmap="cividis", vmin=-reach / 8, vmax=reach)
            top.contour(one.exact, levels=[0.5], colors="white", linewidths=0.8)
            shown = bottom.imshow(one.error, cmap="cividis", vmin=0, vmax=8)
            mean = found[name]["mean_relative"]
            page.label(top, title=name)
            page.label(bottom, title=f"error: {mean:.1%} in the mean" if mean else "error: none")
            for axis in (top, bottom):
                axis.set_axis_off()
        bar = figure.colorbar(shown, ax=axes[1][:], orientation="horizontal", fraction=0.05)
        bar.set_label("absolute error, pixels (8 and more: lightest)", color=page.ink, fontsize=9)
        bar.ax.tick_params(colors=page.ink, labelsize=8)
        bar.outline.set_visible(False)
        figure.subplots_adjust(0.02, 0.14, 0.98, 0.88, 0.05, 0.12)
        page.save(figure, "errors", "; white: the lesions' outline", arranged=True)


def _printed(name: str) -> str:
    return name.replace("^2", "²").replace("^3", "³")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot")
    parser.add_argument("json", nargs="?", type=Path, help="(the newest in benchmarks/results)")
    parser.add_argument("--out", type=Path, default=PICTURES)
    parser.add_argument("--wall", action="store_true", help="times by the wall clock")
    options = parser.parse_args(arguments)
    path = options.json or newest()
    results = read(path)
    for theme in THEMES:
        painter = Painter(results, theme, options.out, options.wall)
        for picture in (
            painter.scaling, painter.by_case, painter.loss, painter.step, painter.memory,
            painter.errors,
        ):  # fmt: skip
            try:
                picture()
            except KeyError as missing:
                print(f"{picture.__name__}: {path.name} lacks {missing}", file=sys.stderr)
    print(f"pictures of {path}: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
