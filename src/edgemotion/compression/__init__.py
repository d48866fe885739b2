"""ONNX export, quantization and pruning."""
