"""Measurements of what the design promises: `make bench`, or `python -m benchmarks` in the virtual environment.

Absolute numbers depend on the machine, so promises are ratios against a plain way of doing the same in the same run, or
limits that hold anywhere. Each module has one area and a function that returns its results.
"""
