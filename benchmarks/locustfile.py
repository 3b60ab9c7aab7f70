"""Locust on the screening, in the browser or headless, against any Triton that serves it.

locust -f benchmarks/locustfile.py --host grpc://localhost:8001 --headless -u 4 -t 30s
THYROID_LOAD_SHAPE=spike locust -f benchmarks/locustfile.py --host ... --headless -u 16 -t 5m
locust -f benchmarks/locustfile.py --host ... --headless -u 8 -t 1m --processes 2
"""

from thyroid_benchmarks.locust_shapes import chosen_shape
from thyroid_benchmarks.locust_user import ThyroidUser

__all__ = ["ThyroidUser"]

# Locust takes every shape class that it finds here; without one it goes by -u and -t alone.
Shape = chosen_shape()
