"""Exact Euclidean distance transforms, signed distance maps and the boundary loss."""

from fastdist import ops, providers

__all__ = ["ops", "providers"]
