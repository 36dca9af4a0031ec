"""How the pictures look: light and dark pages, one colour and one marker a library, axes, bars.

Colours are Okabe and Ito's, which colour-blind readers tell apart, with lighter twins for dark
pages; markers differ too, so that no picture depends on colour.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

THEMES = {  # page, ink, fine lines
    "light": ("#ffffff", "#1f2328", "#d0d7de"),
    "dark": ("#0d1117", "#e6edf3", "#30363d"),
}
STYLES: dict[str, tuple[str, str, str]] = {  # library: light colour, dark colour, marker
    "fastdist": ("#0072B2", "#56B4E9", "o"),
    "fastdist, new output": ("#0072B2", "#56B4E9", "h"),
    "fastdist, CUDA graph": ("#0072B2", "#56B4E9", "h"),
    "fastdist, numba": ("#CC79A7", "#CC79A7", "D"),
    "edt.edt(mask + 1)": ("#D55E00", "#E8743B", "s"),
    "edt.edt(labels + 1)": ("#D55E00", "#E8743B", "s"),
    "OpenCV PRECISE": ("#009E73", "#2EBD94", "^"),
    "SciPy": ("#B8860B", "#F0C040", "v"),
    "DIPlib": ("#1f2328", "#e6edf3", "P"),
    "SimpleITK SignedMaurer": ("#7b6bb5", "#a99be0", "X"),
    "MONAI with SciPy": ("#B8860B", "#F0C040", "v"),
    "MONAI with cuCIM": ("#009E73", "#2EBD94", "^"),
    "exacta": ("#D55E00", "#E8743B", "s"),
    "CuPy": ("#CC79A7", "#CC79A7", "D"),
    "CuPy, tuned": ("#009E73", "#2EBD94", "^"),
    "CuPy, tuned, 8 streams": ("#1f2328", "#e6edf3", "P"),
    "read and write alone": ("#7a7f87", "#8b949e", "_"),
    "device copy of the same bytes": ("#7a7f87", "#8b949e", "_"),
    "softmax times a constant": ("#7a7f87", "#8b949e", "_"),
}
FLOORS = ("read and write alone", "device copy of the same bytes", "softmax times a constant")


class Page:
    """One theme, and the note at the foot of every picture."""

    def __init__(self, theme: str, note: str, folder: Path, suffix: str = "") -> None:
        self.theme, self.note, self.folder, self.suffix = theme, note, folder, suffix
        self.paper, self.ink, self.fine = THEMES[theme]

    def style(self, library: str) -> tuple[str, str]:
        light, dark, marker = STYLES.get(library, (self.ink, self.ink, "x"))
        return (light if self.theme == "light" else dark), marker

    def figure(
        self, columns: int, size: tuple[float, float], title: str, rows: int = 1
    ) -> tuple[Figure, Any]:
        figure, axes = plt.subplots(
            rows, columns, figsize=size, facecolor=self.paper, squeeze=False
        )
        figure.suptitle(title, color=self.ink, fontsize=12, x=0.01, ha="left", weight="bold")
        for axis in axes.flat:
            axis.set_facecolor(self.paper)
            axis.tick_params(colors=self.ink, which="both", labelsize=9)
            axis.grid(True, color=self.fine, linewidth=0.7)
            axis.set_axisbelow(True)
            for side, spine in axis.spines.items():
                spine.set_visible(side in ("left", "bottom"))
                spine.set_color(self.fine)
        return figure, axes[0] if rows == 1 else axes

    def label(self, axis: Axes, x: str = "", y: str = "", title: str = "") -> None:
        axis.set_xlabel(x, color=self.ink, fontsize=9)
        axis.set_ylabel(y, color=self.ink, fontsize=9)
        axis.set_title(title, color=self.ink, fontsize=10, loc="left")

    def legend(self, where: Any, **options: Any) -> None:
        options = {"fontsize": 9, **options}
        made = where.legend(frameon=False, labelcolor=self.ink, **options)
        made.set_in_layout(False)

    def save(self, figure: Figure, name: str, what: str = "", arranged: bool = False) -> None:
        figure.text(0.99, 0.01, self.note + what, color=self.ink, fontsize=7, ha="right", alpha=0.8)
        if not arranged:
            figure.tight_layout(rect=(0, 0.02, 1, 1))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}{self.suffix}-{self.theme}.png"
        figure.savefig(path, dpi=130, facecolor=self.paper)
        plt.close(figure)

    def bars(
        self,
        axis: Axes,
        values: dict[str, float],
        text: Callable[[str], str],
        base: float = 0.0,
    ) -> None:
        """Horizontal bars, the first on top; what lies below `base` is drawn as a yardstick."""
        for row, (name, value) in enumerate(reversed(values.items())):
            colour = self.style(name.rpartition("boundary loss, ")[2])[0]
            grey = self.style(FLOORS[0])[0]
            axis.barh(row, min(base, value) or value, color=grey if base else colour, height=0.62)
            if base and value > base:
                axis.barh(row, value - base, left=base, color=colour, height=0.62)
            axis.annotate(
                text(name),
                (value, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                color=self.ink,
                fontsize=9,
            )
        axis.set_yticks(range(len(values)), list(reversed(values)))
        axis.grid(False, axis="y")
        axis.set_xlim(0, max(values.values()) * 1.3)
