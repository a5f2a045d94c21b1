"""A table of a network's layers: output shapes and parameter counts."""

import torch
from torch import Tensor, nn


def layer_summary(network: nn.Module, example: Tensor, depth: int = 2) -> str:
    """The modules down to `depth` with the shape each gives for `example` and its parameters; the total last."""
    shapes: dict[str, str] = {}
    listed = {name: module for name, module in network.named_modules() if name and name.count(".") < depth}

    def note(name: str):
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                shapes[name] = str(list(output.shape))

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in listed.items()]
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(example)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    rows = [
        (name, type(module).__name__, shapes.get(name, ""), f"{count_parameters(module):,}")
        for name, module in listed.items()
        if count_parameters(module)
    ]
    rows.insert(0, ("layer", "kind", "output", "parameters"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in rows]
    total = f"{type(network).__name__}: {count_parameters(network):,} parameters, input {list(example.shape)}"
    return "\n".join([*lines, total])


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
