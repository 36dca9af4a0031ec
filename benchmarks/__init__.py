"""fastdist measured against the field: ``python -m benchmarks``, see docs/benchmarks.md."""
