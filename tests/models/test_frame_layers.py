import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError, TooShortError
from mvector.models.layers import FrameConv, FrameNorm, TDNNBlock, repeat_up_to, require_frames


@pytest.mark.parametrize("padding_mode", ["reflect", "zeros"])
@pytest.mark.parametrize(("kernel_size", "dilation", "stride"), [(1, 1, 1), (3, 1, 1), (3, 4, 1), (5, 2, 2), (1, 1, 2)])
@pytest.mark.parametrize("frames", [9, 20])
def test_convolution_is_that_of_torch(padding_mode, kernel_size, dilation, stride, frames):
    conv = FrameConv(6, 4, kernel_size, dilation, stride, padding_mode=padding_mode)
    x = torch.randn(2, frames, 6)
    padding = dilation * (kernel_size - 1) // 2
    padded = functional.pad(
        x.transpose(1, 2), (padding, padding), "reflect" if padding_mode == "reflect" else "constant"
    )
    expected = functional.conv1d(padded, conv.weight, conv.bias, stride=stride, dilation=dilation).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected, rtol=1e-5, atol=1e-6)


def test_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="odd kernel size, found 4"):
        FrameConv(2, 2, 4)


def test_norm_is_over_batch_and_frames():
    norm = FrameNorm(5).train()
    x = 3 + 2 * torch.randn(4, 7, 5)
    y = norm(x)
    expected = (x - x.mean((0, 1))) / (x.var((0, 1), correction=0) + norm.eps).sqrt()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean((0, 1)))
    assert norm(torch.randn(6, 5)).shape == (6, 5)


def test_tdnn_block_normalises_after_the_activation():
    block = TDNNBlock(3, 8).train()
    y = block(torch.randn(16, 20, 3))
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(8), rtol=0, atol=1e-5)


def test_require_frames():
    require_frames(torch.zeros(1, 5, 2), 5, torch.nn.Identity())
    with pytest.raises(TooShortError, match="Identity needs at least 5 frames, found 4"):
        require_frames(torch.zeros(1, 4, 2), 5, torch.nn.Identity())


@pytest.mark.parametrize("frames", [1, 2, 5, 9, 10, 11, 40])
def test_too_few_frames_are_repeated_as_a_whole(frames):
    x = torch.randn(2, frames, 3)
    y = repeat_up_to(x, 10)
    assert 10 <= y.shape[1] < 10 + frames or y.shape[1] == frames
    assert y.shape[1] % frames == 0
    for i in range(y.shape[1]):
        assert torch.equal(y[:, i], x[:, i % frames])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traced_and_exported_the_repetition_takes_any_number_of_frames():
    class Repeat(torch.nn.Module):
        def forward(self, x):
            return repeat_up_to(x, 10)

    example = torch.randn(2, 20, 3)
    frames = torch.export.Dim("frames", min=1, max=5000)
    exported = torch.export.export(Repeat(), (example,), dynamic_shapes=({1: frames},), strict=False).module()
    traced = torch.jit.trace(Repeat(), (example,))
    for count in (1, 3, 9, 10, 57):
        x = torch.randn(2, count, 3)
        assert torch.equal(exported(x), repeat_up_to(x, 10))
        assert torch.equal(traced(x), repeat_up_to(x, 10))
