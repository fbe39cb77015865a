"""Measurements: each module runs one and writes `bench/results/<name>.json`; nothing here is asserted by a test.

`python -m bench.accept` runs all of them, `python -m bench.<name>` one.
"""
