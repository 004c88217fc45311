"""Measurements of what the design promises: `make bench`, or `python -m benchmarks` in the virtual environment.

Absolute numbers depend on the machine, so promises are ratios against a plain way of doing the same in the same run, or
limits that hold anywhere. The plain way for everything about the chain is the node in `benchmarks.naive`. Each module
has one area and a function that returns its results.
"""
