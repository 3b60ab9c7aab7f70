"""Runs the benchmarks from a checkout: `python benchmarks/scenarios.py --help`.

The same as `python -m thyroid_benchmarks` with this folder on the path.
"""

from thyroid_benchmarks.cli import main

if __name__ == "__main__":  # processes that prepare images import this file again
    main(prog_name="scenarios.py")
