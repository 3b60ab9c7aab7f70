"""The arithmetic of every step of the screening, as pure functions on arrays.

Training, serving, client and tests all use these functions, so that what a network is trained on
is what it is served. `thyroid_pipeline.contract` is the one place that names models and tensors.
"""
