"""Serves every model whose config says `backend: "tensorrt_rtx"`, by TensorRT for RTX."""
