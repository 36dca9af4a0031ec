"""Runnable examples; start with `python -m examples.lesions --help`."""
