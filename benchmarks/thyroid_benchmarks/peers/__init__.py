"""The servers that people would use instead, each a small file that runs in its own environment.

Nothing here imports more than `thyroid_pipeline`, ONNX Runtime and the peer's own package. All run
the same `Screener`: the same ONNX files, decoding, cropping and decision, one session of each
network for each process. They differ in what carries a request to it, which is what is compared.
`thyroid_benchmarks.peer_list` says what each is tuned to, and why.
"""
