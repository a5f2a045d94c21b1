"""Models for other runtimes: ONNX (for onnxruntime, OpenVINO, sherpa-onnx) and TorchScript, and running them.

`graphs` makes PyTorch's own dynamic graph of a network or of its features, `onnx_files`, `int8` and `torchscript`
write it, `runtime` runs an ONNX file. Nothing is imported here: `runtime` must not import torch.
"""
