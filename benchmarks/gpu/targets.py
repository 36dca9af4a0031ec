"""What fastdist was to reach on a GPU, by the name that the device gives itself.

Set for an H200. An H100 has the same multiprocessors and less bandwidth, which its targets are
stretched by, but for what fits its cache. Other devices are measured and not judged.
"""

from __future__ import annotations

H200 = "NVIDIA H200"
#: TB/s of memory, the vendor's figures.
BANDWIDTH = {H200: 4.8, "NVIDIA H100 80GB HBM3": 3.35}
#: Microseconds of device time on an H200, of a signed map of blobs.
MICROSECONDS = {
    "256^3": 130.0,
    "8 x 128^3": 120.0,
    "16 x 256^2": 10.0,
    "512^3": 900.0,
    "256 x 1024^2": 3220.0,
}
CACHED = ("16 x 256^2",)


def microseconds(size: str, device: str) -> float | None:
    """The most that a signed map of this size may take there; None where nobody can say."""
    if size not in MICROSECONDS or device not in BANDWIDTH:
        return None
    stretch = 1.0 if size in CACHED else BANDWIDTH[H200] / BANDWIDTH[device]
    return MICROSECONDS[size] * stretch


def floors(wanted: dict[str, float], device: str) -> dict[str, float]:
    """By how much others are to be slower there: the same on all devices that are judged."""
    return wanted if device in BANDWIDTH else {}
