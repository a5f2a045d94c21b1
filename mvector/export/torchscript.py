"""TorchScript: a file for LibTorch (C++, mobile) and for programs that load models with `torch.jit.load`.

Tracing would write sizes of its example into the file, and scripting our modules would forbid half of Python in them.
The dynamic graph that ONNX is made from has neither fault: it is printed as a module of plain operators, and that is
scripted.
"""

import operator
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from mvector.export.graphs import difference, features_graph, least_length, network_graph, require_equal
from mvector.model_directory import ModelDirectory

# Checks of sizes; TorchScript does without.
_CHECKS = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size")


def export_torchscript(model: ModelDirectory, output: str | os.PathLike[str], with_features: bool = False) -> None:
    """Write `model`, loaded on the CPU, to the TorchScript file `output`; batch size and length are free.

    It takes features [B, F, D], or with `with_features` a waveform [B, T] in [-1, 1] at any level, and gives embeddings
    [B, E]. Raises ModelError for a model that cannot be exported.
    """
    target, embedder, dataset = Path(output), model.embedder, model.config.dataset_conf.dataset
    graph = network_graph(embedder.backbone, embedder.featurizer.feature_size)
    network = script(graph)
    least = max(embedder.backbone.min_frames, least_length(graph))
    for batch, frames in ((1, least), (3, least + 210)):
        features = torch.randn(batch, frames, embedder.featurizer.feature_size)
        with torch.inference_mode():
            found, expected = network(features).numpy(), embedder.backbone(features).numpy()
        require_equal(difference(found, expected), f"the backbone {type(embedder.backbone).__name__}")
    if with_features:
        level_db = dataset.target_dB if dataset.use_dB_normalization else None
        network = _scripted(nn.Sequential(script(features_graph(embedder.featurizer, level_db)), network))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    network.save(str(part))
    os.replace(part, target)


def script(program: ExportedProgram) -> torch.jit.ScriptModule:
    """The graph as TorchScript, with the same input and output."""
    holder, graph = nn.Module(), fx.Graph()
    tensors = _lifted_tensors(program)
    given: list[Any] = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in tensors:
            holder.register_buffer(node.name, tensors[node.name])
            given.append(graph.get_attr(node.name))
        elif node.op == "placeholder":
            given.append(graph.placeholder(node.name))
    (result,) = _copy(program.graph_module, given, graph)
    graph.output(result)
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    return _scripted(fx.GraphModule(holder, graph).eval())


def _copy(source: fx.GraphModule, given: Sequence[Any], graph: fx.Graph) -> Sequence[Any]:
    """Copy the nodes of `source`, applied to `given`, to the end of `graph`; returns what `source` gives."""
    inputs = iter(given)
    copies: dict[fx.Node, Any] = {}
    for node in source.graph.nodes:
        if node.op == "placeholder":
            copies[node] = next(inputs)
        elif node.op == "get_attr":
            copies[node] = getattr(source, node.target)  # a part that ran with autocast or gradients switched off
        elif node.op == "output":
            return [copies[result] for result in node.args[0]]
        elif any(isinstance(copies.get(part), fx.GraphModule) for part in node.args if isinstance(part, fx.Node)):
            arguments = [copies[part] if isinstance(part, fx.Node) else part for part in node.args]
            index = next(i for i, part in enumerate(arguments) if isinstance(part, fx.GraphModule))
            copies[node] = _copy(arguments[index], arguments[index + 1 :], graph)
        elif node.target is operator.getitem and isinstance(copies[node.args[0]], list):
            copies[node] = copies[node.args[0]][node.args[1]]
        elif not (isinstance(node.target, torch._ops.OpOverload) and node.target._opname in _CHECKS):
            copy = copies[node] = graph.node_copy(node, lambda part: copies[part])
            if isinstance(copy.target, torch._ops.OpOverload):
                # TorchScript picks the overload by the arguments' types itself.
                packet = copy.target.overloadpacket
                copy.target = torch.ops.aten.size if packet is torch.ops.aten.sym_size else packet
    raise AssertionError("a graph without an output")


def _scripted(module: nn.Module) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of annotations in GraphModule, and that TorchScript will be replaced one day
        return torch.jit.script(module)


def _lifted_tensors(program: ExportedProgram) -> dict[str, Tensor]:
    """Weights, buffers and constants by the name of the placeholder that stands for each."""
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return {
        placeholder: (program.state_dict if name in program.state_dict else program.constants)[name].detach()
        for placeholder, name in names.items()
    }
