"""Measures the served screening: load scenarios, verdicts, the floor, the knee, reports."""
