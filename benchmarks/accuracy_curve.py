"""Times the networks of the accuracy curve: `python benchmarks/accuracy_curve.py --help`."""

from thyroid_benchmarks.curve_command import main

if __name__ == "__main__":
    main(prog_name="accuracy_curve.py")
