"""Python-based Triton backends: a folder of each, which a server is given beside its own."""
