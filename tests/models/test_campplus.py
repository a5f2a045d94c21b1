import pytest
import torch
from torch.nn import functional

from mvector.models import CAMPPlus
from mvector.models.campplus import ContextMaskedLayer, MeanAndDeviation, segment_means
from mvector.registry import POOLINGS


@pytest.mark.parametrize(("embd_dim", "parameters"), [(512, 7_176_224), (192, 6_848_544)])
def test_parameter_count(embd_dim, parameters):
    assert sum(p.numel() for p in CAMPPlus(80, embd_dim).parameters()) == parameters


@pytest.mark.parametrize("frames", [1, 99, 100, 101, 200, 257])
def test_segment_means_are_over_the_frames_that_are_there(frames):
    x = torch.randn(2, frames, 3)
    means, segment_of_frame = segment_means(x, 100)
    for frame in range(frames):
        start = frame // 100 * 100
        expected = x[:, start : start + 100].double().mean(1).float()
        torch.testing.assert_close(means[:, segment_of_frame[frame]], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("frames", [40, 230])
def test_masks_are_those_of_ceiled_average_pooling(frames):
    layer = ContextMaskedLayer(8, 6, 3, 2)
    x = torch.randn(2, frames, 8)
    channels_first = x.transpose(1, 2)
    segments = functional.avg_pool1d(channels_first, 100, 100, ceil_mode=True).repeat_interleave(100, 2)[..., :frames]
    context = channels_first.mean(2, keepdim=True) + segments
    hidden = functional.conv1d(context, layer.linear1.weight, layer.linear1.bias).relu()
    masks = functional.conv1d(hidden, layer.linear2.weight, layer.linear2.bias).sigmoid()
    local = functional.conv1d(channels_first, layer.linear_local.weight, padding=2, dilation=2)
    torch.testing.assert_close(layer(x), (local * masks).transpose(1, 2), rtol=1e-5, atol=1e-6)


def test_deviation_is_unbiased_and_guarded():
    x = 5 + torch.randn(2, 4, 9)
    torch.testing.assert_close(MeanAndDeviation(4)(x), torch.cat([x.mean(2), x.std(2)], dim=1))
    single = MeanAndDeviation(4)(x[..., :1])
    torch.testing.assert_close(single, torch.cat([x[..., 0], torch.zeros(2, 4)], dim=1), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("bins", [80, 60, 41])
def test_any_number_of_bins(bins):
    assert CAMPPlus(bins, 16).eval()(torch.randn(1, 20, bins)).shape == (1, 16)


SMALL = {"embd_dim": 6, "growth_rate": 4, "bn_size": 2, "init_channels": 16}


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_any_pooling_trains(pooling_type):
    model = CAMPPlus(24, pooling_type=pooling_type, **SMALL).train()
    embeddings = model(torch.randn(3, 30, 24))
    embeddings.sum().backward()
    assert embeddings.shape == (3, 6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_pooling_sees_all_frames_after_the_stride_and_takes_its_arguments():
    model = CAMPPlus(24, pooling_type="TSTP", pooling_args={"epsilon": 4.0}, **SMALL).eval()
    seen = []
    model.xvector.out_nonlinear.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model.xvector.stats.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(torch.randn(2, 31, 24))
    frames, statistics = seen
    assert frames.shape[:2] == (2, 16)
    expected = torch.cat([frames.mean(1), (frames.var(1) + 4).sqrt()], dim=1)
    torch.testing.assert_close(statistics, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_export_of_the_masks_takes_any_number_of_frames():
    layer = ContextMaskedLayer(8, 6, 3, 2).eval()
    frames = torch.export.Dim("frames", min=2, max=5000)
    program = torch.export.export(layer, (torch.randn(2, 250, 8),), dynamic_shapes=({1: frames},), strict=False)
    for count in (2, 60, 100, 333):
        x = torch.randn(2, count, 8)
        torch.testing.assert_close(program.module()(x), layer(x))
