"""The named conventions of signed distance maps: zero level, normalisation, constant maps.

With d_fg and d_bg the distances of a voxel to the nearest foreground and background voxel centre,
and h the image's smallest spacing, a signed map has d_fg outside of the foreground and, inside,
what ``zero`` says:

=============  =============================================================================
``zero``       inside value, and whose convention it is
=============  =============================================================================
"shifted"      -(d_bg - h); at unit spacing Kervadec's code and MONAI's BoundaryLoss
"unit"         -(d_bg - 1) at any spacing; Kervadec's code with ``resolution``
"inner"        -(distance to the nearest foreground voxel that touches the outside with a face,
               an edge or a corner); the paper's boundary (Kervadec et al. 2019) as ITK's
               SignedMaurer draws it
"midpoint"     -(d_bg - h/2), and outside d_fg - h/2: zero between the voxels, so that objects
               of one or two voxels keep negative values
"none"         -d_bg
=============  =============================================================================

Then ``clip=t`` clamps to [-t, t], and ``normalize`` divides: "max" the inside by the largest inside
magnitude and the outside by the largest outside value, for each item and class; "diagonal" by the
image's physical diagonal, sqrt(sum (n_i h_i)^2). A class that is absent from an image has the
constant map ``empty``, one that fills it the constant map ``full``: a number, or "diagonal" (plus
the diagonal when empty, minus it when full). Constants are neither clipped nor normalised. A signed
map is never infinite and never NaN.
"""

from __future__ import annotations

import math

from fastdist import checks

ZERO = ("shifted", "unit", "inner", "midpoint", "none")
NORMALIZE = ("none", "max", "diagonal")  # None stands for "none"

#: zero, normalize, clip, empty, full, as the ops take them
Convention = tuple[str, str, float | None, float | None, float | None]


def resolve(
    zero: str = "shifted",
    normalize: str | None = None,
    clip: float | None = None,
    empty: float | str = 0.0,
    full: float | str = 0.0,
) -> Convention:
    """The arguments of the ops for these names; TypeError or ValueError for what is no name.

    >>> resolve("midpoint", clip=5, empty="diagonal")
    ('midpoint', 'none', 5.0, None, 0.0)
    """
    checks.choice("zero", zero, ZERO)
    if normalize is None:
        normalize = "none"
    checks.choice("normalize", normalize, NORMALIZE, "None or ")
    if clip is not None:
        clip = checks.number("clip", clip, "None or a number")
        if not 0 < clip < math.inf:
            raise ValueError(f"clip: got {clip}, expected None or a finite number > 0")
    return zero, normalize, clip, _constant("empty", empty), _constant("full", full)


def _constant(name: str, value: float | str) -> float | None:
    if isinstance(value, str):
        if value != "diagonal":
            raise ValueError(
                f'{name}: got {checks.shown(value)}, expected a number or "diagonal"'
            )
        return None
    constant = checks.number(name, value, 'a number or "diagonal"')
    if not -math.inf < constant < math.inf:
        raise ValueError(f'{name}: got {constant}, expected a finite number or "diagonal"')
    return constant
