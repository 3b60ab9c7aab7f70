"""Starts and stops Triton: the embedded server, its checks, its readiness and its backends."""
