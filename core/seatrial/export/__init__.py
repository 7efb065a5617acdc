"""From a PyTorch module to an ONNX model, with a gate that can fail."""
