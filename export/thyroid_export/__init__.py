"""From a trained network to a model repository that Triton serves."""
