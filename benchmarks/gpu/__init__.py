"""The suite on an NVIDIA GPU: ``python -m benchmarks --device cuda``, see docs/benchmarks.md.

Everything here also runs on CPU tensors with ``--device cpu --rehearse``: tiny sizes, the host's
clock, results that are never taken for a GPU's. So the first minutes on a GPU are not lost on a
typo.
"""
