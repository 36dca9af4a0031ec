"""Exact Euclidean distance transforms, signed distance maps and the boundary loss."""

from fastdist import functional, losses, providers
from fastdist.checks import check_labels, check_spacing
from fastdist.maps import edt, edt_labels, signed_distance, signed_distance_maps
from fastdist.scipy_api import distance_transform_edt

__all__ = [
    "check_labels",
    "check_spacing",
    "distance_transform_edt",
    "edt",
    "edt_labels",
    "functional",
    "losses",
    "providers",
    "signed_distance",
    "signed_distance_maps",
]
