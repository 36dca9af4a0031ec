"""Exact Euclidean distance transforms, signed distance maps and the boundary loss."""

from fastdist import providers
from fastdist.checks import check_labels, check_spacing
from fastdist.maps import edt, edt_labels, signed_distance, signed_distance_maps

__all__ = [
    "check_labels",
    "check_spacing",
    "edt",
    "edt_labels",
    "providers",
    "signed_distance",
    "signed_distance_maps",
]
