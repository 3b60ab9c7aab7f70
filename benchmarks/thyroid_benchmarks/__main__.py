"""Runs the command: `python -m thyroid_benchmarks`."""

from thyroid_benchmarks.cli import main

if __name__ == "__main__":  # processes that prepare images may import this module again
    main(prog_name="python -m thyroid_benchmarks")
