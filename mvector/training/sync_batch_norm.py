"""Batch norm over the batches of all ranks: 2 processes with 32 utterances each normalise as 1 with 64 does."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mvector.precision import at_least_float32
from mvector.training.ranks import all_sum, stack, world_size


class SyncBatchNorm(_BatchNorm):
    """Batch norm [B, C] or [B, C, …] whose mean and variance in training are those of the joined batch of all ranks.

    Each rank's statistics count by the number of values that they come from, so that ranks may have batches of
    different sizes, and the running statistics are those of the joined batch on every rank. Gradients of the inputs are
    those of the joined batch; the gradients of `weight` and `bias` are this rank's part and are summed with all others
    (:func:`mvector.training.ranks.sum_gradients`). Computed in float32 whatever autocast says, and on any device:
    torch's own takes GPU tensors only.

    In evaluation, and with one process, it is ordinary batch norm, with the same names and shapes in its state_dict.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        return self._forward_together(x)

    def _forward_together(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                momentum = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
                self.running_mean += momentum * (mean - self.running_mean)
                self.running_var += momentum * (variance * (count / (count - 1)) - self.running_var)
        return y


def leave_out_of_graphs() -> None:
    """For a network that is to be compiled: the exchange between the ranks is no part of its graph.

    Not a decorator of the method, which would load 80 MB of compiler into every training and its loader processes.
    """
    method = torch.compiler.disable(SyncBatchNorm._forward_together)
    SyncBatchNorm._forward_together = method  # type: ignore[method-assign]


def synchronise_batch_norm(network: nn.Module) -> None:
    """Make a :class:`SyncBatchNorm` of every batch norm in `network`, which keeps its parameters, buffers and layout.

    Layers of a subclass that rearranges its input (frames before channels, say) and leaves the rest to batch norm do
    so still.
    """
    for layer in network.modules():
        norm = isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        if norm and not isinstance(layer, SyncBatchNorm):
            layer.__class__ = _synchronised(type(layer))  # type: ignore[assignment,arg-type]


@functools.cache
def _synchronised(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    """`kind`, with SyncBatchNorm's forward in the place of batch norm's: the next one after its own, if it has one."""
    return type(f"Sync{kind.__name__}", (kind, SyncBatchNorm), {})


class _Normalise(torch.autograd.Function):
    """(x [B, C, …], weight [C] or None, bias [C] or None, eps) -> (y, mean [C], variance [C], count) of all ranks.

    Means and summed squares of the ranks are joined as in Chan, Golub & LeVeque 1979, which loses no digits where the
    mean is large; the gradient is that of Ioffe & Szegedy 2015 with both of its sums taken over all ranks.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        values = at_least_float32(x)
        own_count = values.numel() // values.shape[1]
        dims = [dim for dim in range(values.dim()) if dim != 1]
        own_mean = values.mean(dims)
        own_squares = (values - _over_channels(own_mean, values)).square().sum(dims)
        everybody = stack(torch.cat([own_mean, own_squares, own_mean.new_tensor([own_count])]))  # [ranks, 2 C + 1]
        means, squares = everybody[:, :-1].unflatten(1, (2, -1)).unbind(1)  # [ranks, C]
        counts = everybody[:, -1:]  # [ranks, 1]
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (squares + counts * (means - mean).square()).sum(0) / count
        deviation_inverse = (variance + eps).rsqrt()
        normalised = (values - _over_channels(mean, values)) * _over_channels(deviation_inverse, values)
        y = normalised if weight is None else normalised * _over_channels(at_least_float32(weight), values)
        if bias is not None:
            y = y + _over_channels(at_least_float32(bias), values)
        ctx.save_for_backward(x, weight, mean, deviation_inverse, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return y.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight, mean, deviation_inverse, count = ctx.saved_tensors
        gradient = at_least_float32(gradients[0])
        dims = [dim for dim in range(x.dim()) if dim != 1]
        normalised = (at_least_float32(x) - _over_channels(mean, x)) * _over_channels(deviation_inverse, x)
        of_bias, of_weight = gradient.sum(dims), (gradient * normalised).sum(dims)  # this rank's part
        total = all_sum(torch.stack([of_bias, of_weight])) / count  # [2, C]
        scale = deviation_inverse if weight is None else deviation_inverse * at_least_float32(weight)
        of_x = gradient - _over_channels(total[0], x) - normalised * _over_channels(total[1], x)
        of_x = (of_x * _over_channels(scale, x)).to(x.dtype)
        if weight is None:
            return of_x, None, None, None
        return of_x, of_weight.to(weight.dtype), of_bias.to(weight.dtype), None


def _over_channels(of_channel: Tensor, x: Tensor) -> Tensor:
    """[C] in the shape that spreads over x [B, C, …]."""
    return of_channel.view(1, -1, *[1] * (x.dim() - 2))
