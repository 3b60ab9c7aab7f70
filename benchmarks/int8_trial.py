"""Tries INT8 on the networks of a repository: `python benchmarks/int8_trial.py --help`."""

from thyroid_benchmarks.int8_command import main

if __name__ == "__main__":
    main(prog_name="int8_trial.py")
