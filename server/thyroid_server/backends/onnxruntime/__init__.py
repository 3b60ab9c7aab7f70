"""Serves every model whose config says `backend: "onnxruntime"`, by ONNX Runtime for Python."""
