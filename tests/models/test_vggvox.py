import pytest
import torch

from mvector.errors import ConfigError
from mvector.models.vggvox import RECEPTIVE_FRAMES, VGGVox


def parameters_of_the_table(height: int, embd_dim: int = 1024) -> int:
    """Table 4 of the paper: kernel area, inputs and outputs; batch norm instead of biases, except after fc8."""
    layers = [(49, 1, 96), (25, 96, 256), (9, 256, 384), (9, 384, 256), (9, 256, 256), (height, 256, 4096)]
    layers.append((1, 4096, 1024))
    total = sum(area * inputs * outputs + 2 * outputs for area, inputs, outputs in layers)
    return total + 1024 * embd_dim + embd_dim


@pytest.mark.parametrize(("bins", "height"), [(512, 9), (80, 1), (257, 4)])
def test_parameter_count(bins, height):
    with torch.device("meta"):
        count = sum(p.numel() for p in VGGVox(bins).parameters())
    assert count == parameters_of_the_table(height)
    assert bins == 257 or f"{count:,}" in VGGVox.__doc__


def shapes(bins: int, frames: int) -> dict[str, tuple[int, ...]]:
    found = {}
    with torch.device("meta"):
        model = VGGVox(bins).eval()
        for name, module in model.named_children():
            module.register_forward_hook(lambda _, __, output, name=name: found.update({name: tuple(output.shape[1:])}))
        model(torch.zeros(1, frames, bins))
    return found


def test_three_seconds_have_the_sizes_of_the_paper():
    assert shapes(512, 300) == {
        "conv1": (96, 254, 148),
        "conv2": (256, 62, 36),
        "conv3": (384, 30, 17),
        "conv4": (256, 30, 17),
        "conv5": (256, 30, 17),
        "fc6": (4096, 1, 8),
        "fc7": (1024,),
        "fc8": (1024,),
    }


def test_65_frames_leave_one():
    assert RECEPTIVE_FRAMES == 65
    assert shapes(512, 65)["fc6"] == shapes(512, 96)["fc6"] == (4096, 1, 1)
    assert shapes(512, 97)["fc6"] == (4096, 1, 2)
    layers = [(7, 2, 1), (3, 2, 0), (5, 2, 1), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0)]
    frames = {65: 65, 64: 64}
    for kernel, stride, padding in layers:
        frames = {start: (count + 2 * padding - kernel) // stride + 1 for start, count in frames.items()}
    assert frames == {65: 1, 64: 0}


def test_a_short_utterance_is_its_repetition():
    torch.manual_seed(0)
    model = VGGVox(40, 8).eval()
    x = torch.randn(2, 30, 40)
    torch.testing.assert_close(model(x), model(torch.cat([x, x, x], dim=1)))


@pytest.mark.parametrize("bins", [33, 40, 96, 97, 130])
def test_any_number_of_bins_from_33_on(bins):
    with torch.device("meta"):
        assert VGGVox(bins, 8).eval()(torch.zeros(1, 70, bins)).shape == (1, 8)


def test_fewer_bins_are_refused():
    with pytest.raises(ConfigError, match="at least 33 bins, found 32"):
        VGGVox(32)
