"""``python -m benchmarks.plot [JSON]``: pictures from a result file, for light and dark pages.

Writes scaling, cases, loss and memory, each as ``<name>-light.png`` and ``<name>-dark.png``, into
docs/pictures. Times are CPU time, which other work on the same machine does not lengthen; with
``--wall`` they are by the clock. Every library has its own colour (Okabe and Ito's, told apart by
colour-blind readers) and its own marker.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.record import RESULTS, read

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
THEMES = {  # page, ink, fine lines
    "light": ("#ffffff", "#1f2328", "#d0d7de"),
    "dark": ("#0d1117", "#e6edf3", "#30363d"),
}
# Okabe-Ito; the darkest two have lighter twins for dark pages.
STYLES: dict[str, tuple[str, str, str]] = {  # library: light colour, dark colour, marker
    "fastdist": ("#0072B2", "#56B4E9", "o"),
    "fastdist, new output": ("#0072B2", "#56B4E9", "h"),
    "fastdist, numba": ("#CC79A7", "#CC79A7", "D"),
    "edt.edt(mask + 1)": ("#D55E00", "#E8743B", "s"),
    "OpenCV PRECISE": ("#009E73", "#2EBD94", "^"),
    "SciPy": ("#B8860B", "#F0C040", "v"),
    "MONAI 1.6.1": ("#B8860B", "#F0C040", "v"),
    "exacta 0.0.1a5": ("#D55E00", "#E8743B", "s"),
    "read and write alone": ("#7a7f87", "#8b949e", "_"),
    "softmax times a constant": ("#7a7f87", "#8b949e", "_"),
}


class Painter:
    """One result file, one theme, one clock."""

    def __init__(self, results: dict[str, Any], theme: str, clock: str) -> None:
        self.cases = results["cases"]
        self.environment = results["environment"]
        self.theme = theme
        self.clock = clock
        self.page, self.ink, self.fine = THEMES[theme]

    def style(self, library: str) -> tuple[str, str]:
        light, dark, marker = STYLES.get(library, (self.ink, self.ink, "x"))
        return (light if self.theme == "light" else dark), marker

    def figure(self, columns: int, size: tuple[float, float], title: str) -> tuple[Figure, Any]:
        figure, axes = plt.subplots(1, columns, figsize=size, facecolor=self.page, squeeze=False)
        figure.suptitle(title, color=self.ink, fontsize=12, x=0.01, ha="left", weight="bold")
        for axis in axes[0]:
            axis.set_facecolor(self.page)
            axis.tick_params(colors=self.ink, which="both", labelsize=9)
            axis.grid(True, color=self.fine, linewidth=0.7)
            axis.set_axisbelow(True)
            for side, spine in axis.spines.items():
                spine.set_visible(side in ("left", "bottom"))
                spine.set_color(self.fine)
        return figure, axes[0]

    def label(self, axis: Axes, x: str = "", y: str = "", title: str = "") -> None:
        axis.set_xlabel(x, color=self.ink, fontsize=9)
        axis.set_ylabel(y, color=self.ink, fontsize=9)
        axis.set_title(title, color=self.ink, fontsize=10, loc="left")

    def legend(self, where: Any, **options: Any) -> None:
        made = where.legend(frameon=False, labelcolor=self.ink, fontsize=9, **options)
        made.set_in_layout(False)

    def save(self, figure: Figure, name: str, folder: Path) -> None:
        machine = f"{self.environment['cpu']}, {self.environment['threads']} thread"
        kind = ", medians, CPU time" if self.clock == "cpu" else ", medians, by the clock"
        kind = "" if name == "memory" else kind
        note = f"{machine}{kind}; fastdist {self.environment['fastdist']}"
        figure.text(0.99, 0.01, note, color=self.ink, fontsize=7, ha="right", alpha=0.8)
        figure.tight_layout(rect=(0, 0.02, 1, 1))
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}-{self.theme}.png", dpi=130, facecolor=self.page)
        plt.close(figure)

    def scaling(self, folder: Path) -> None:
        """Time against voxels, blobs of 2-D and 3-D images."""
        figure, axes = self.figure(2, (10, 4.6), "Signed distance map of a mask: time against size")
        for axis, ndim in zip(axes, (2, 3), strict=True):
            lines: dict[str, list[tuple[int, float]]] = {}
            for name, case in self.cases.items():
                if name.startswith("signed map") and name.endswith(f"^{ndim} blobs"):
                    for library, summary in case["libraries"].items():
                        if library != "fastdist, new output":
                            point = (case["voxels"], 1e3 * summary[self.clock])
                            lines.setdefault(library, []).append(point)
            for library, points in lines.items():
                colour, marker = self.style(library)
                floor = library in ("read and write alone",)
                axis.loglog(
                    *zip(*sorted(points), strict=True),
                    color=colour,
                    marker=None if floor else marker,
                    linestyle=":" if floor else "-",
                    linewidth=2.4 if library == "fastdist" else 1.5,
                    markersize=6,
                    label=library,
                )
            self.label(axis, "voxels", "milliseconds", f"{ndim}-D, blobs filling 30 %")
            low, high = axis.get_ylim()
            axis.set_ylim(low, high * (high / low) ** 0.2)  # room for the legend
            handles, labels = axis.get_legend_handles_labels()
            order = sorted(range(len(labels)), key=lambda i: -max(lines[labels[i]])[1])
            self.legend(axis, handles=[handles[i] for i in order], loc="upper left")
        self.save(figure, "scaling", folder)

    def by_case(self, folder: Path) -> None:
        """One row a case, one dot a library, nanoseconds a voxel."""
        wanted = ("signed map", "class maps", "distance_transform_edt")
        sizes = (" 32^3", " 64^3", " 256^2 blobs", " 512^2", " 1024^2")
        rows = {
            name: case
            for name, case in self.cases.items()
            if name.startswith(wanted) and not any(size in name for size in sizes)
        }
        figure, (axis,) = self.figure(
            1, (10, 1.6 + 0.36 * len(rows)), "Nanoseconds a voxel, one thread"
        )
        seen: set[str] = set()
        for row, case in enumerate(reversed(rows.values())):
            values = {k: s[f"{self.clock}_ns_per_voxel"] for k, s in case["libraries"].items()}
            values = {k: v for k, v in values.items() if k in STYLES and "new output" not in k}
            axis.plot([min(values.values()), max(values.values())], [row, row], color=self.fine)
            for library, value in values.items():
                colour, marker = self.style(library)
                label = None if library in seen else library
                seen.add(library)
                width = {"markeredgewidth": 2.0} if marker == "_" else {}
                shape = "|" if marker == "_" else marker
                axis.plot(value, row, shape, color=colour, label=label, markersize=8, **width)
        axis.set_xscale("log")
        names = [_printed(name) for name in reversed(rows)]
        axis.set_yticks(range(len(rows)), names, fontsize=8.5)
        axis.set_ylim(-0.6, len(rows) - 0.4)
        self.label(axis, "ns/voxel (logarithmic; further left is faster)", title="\n ")
        self.legend(axis, loc="lower right", bbox_to_anchor=(1.01, 1.0), ncol=6, columnspacing=1)
        self.save(figure, "cases", folder)

    def loss(self, folder: Path) -> None:
        """Bars: what the boundary loss adds to a training step."""
        case = next(c for n, c in self.cases.items() if n.startswith("boundary loss"))
        seconds = {k: s[self.clock] for k, s in case["libraries"].items()}
        self._bars(
            "What the boundary loss adds to a training step",
            dict(sorted(seconds.items(), key=lambda item: item[1])),
            "seconds, forward and backward, 2 items of 5 classes, 128³, float32",
            lambda v: f"{v:.2f} s",
            "loss",
            folder,
        )

    def memory(self, folder: Path) -> None:
        """Bars: scratch memory of a signed map."""
        case = self.cases["memory, signed map, 256^3, beyond the output"]
        used = {k: found["bytes_per_voxel"] for k, found in case["memory"].items()}
        self._bars(
            "Memory of a signed map beyond its output",
            used,
            "bytes a voxel at 256³, uint8 mask",
            lambda v: f"{v:.1f} B",
            "memory",
            folder,
        )

    def _bars(
        self, title: str, values: dict[str, float], x: str, text: Any, name: str, folder: Path
    ) -> None:
        figure, (axis,) = self.figure(1, (8, 0.9 + 0.45 * (len(values) + 1)), title)
        for row, (library, value) in enumerate(reversed(values.items())):
            axis.barh(row, value, color=self.style(library)[0], height=0.62)
            axis.annotate(
                text(value),
                (value, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                color=self.ink,
                fontsize=9,
            )
        axis.set_yticks(range(len(values)), list(reversed(values)))
        axis.grid(False, axis="y")
        axis.set_xlim(0, max(values.values()) * 1.12)
        self.label(axis, x)
        self.save(figure, name, folder)


def _printed(name: str) -> str:
    return name.replace("^2", "²").replace("^3", "³")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot")
    parser.add_argument("json", nargs="?", help="default: the newest in benchmarks/results")
    parser.add_argument("--out", type=Path, default=PICTURES)
    parser.add_argument("--wall", action="store_true", help="times by the clock")
    options = parser.parse_args(arguments)
    path = options.json or max(RESULTS.glob("*.json"), key=lambda file: file.stat().st_mtime)
    results = read(path)
    for theme in THEMES:
        painter = Painter(results, theme, "wall" if options.wall else "cpu")
        for picture in (painter.scaling, painter.by_case, painter.loss, painter.memory):
            try:
                picture(options.out)
            except (KeyError, StopIteration):
                print(f"{picture.__name__}: {path} lacks its cases", file=sys.stderr)
    print(f"pictures of {path}: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
