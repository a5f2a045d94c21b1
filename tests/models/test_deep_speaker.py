"""ResCNN and the GRU variant of Deep Speaker."""

import pytest
import torch
from torch.nn import functional

from mvector.models.deep_speaker_gru import DeepSpeakerGRU
from mvector.models.rescnn import ResCNN, ResidualBlock, SequenceNorm


def rescnn_parameters(bins: int) -> int:
    """Table 1: four stages; one scale and one shift per channel and bin beside every convolution, no biases."""
    total, inputs = 0, 1
    for channels in (64, 128, 256, 512):
        bins = -(-bins // 2)
        total += 25 * inputs * channels + 2 * channels * bins
        total += 3 * 2 * (9 * channels * channels + 2 * channels * bins)
        inputs = channels
    return total + 512 * bins * 512 + 512


def gru_parameters(bins: int) -> int:
    """Table 2: a convolution, three layers of 1024 units with three gates each, an affine layer; biases twice."""
    rows = -(-bins // 2)
    total = 25 * 64 + 2 * 64 * rows
    for inputs in (64 * rows, 1024, 1024):
        total += 3 * 1024 * (inputs + 1024) + 2 * 3 * 1024
    return total + 1024 * 512 + 512


@pytest.mark.parametrize("bins", [64, 80])
@pytest.mark.parametrize(("kind", "of_the_table"), [(ResCNN, rescnn_parameters), (DeepSpeakerGRU, gru_parameters)])
def test_parameter_count(kind, of_the_table, bins):
    with torch.device("meta"):
        count = sum(p.numel() for p in kind(bins).parameters())
    assert count == of_the_table(bins)
    assert f"{count:,}" in kind.__doc__


def test_totals_of_the_paper():
    """The tables give 24 and 23 million, for 64 bins."""
    assert round(rescnn_parameters(64) / 1e6) == 24
    assert round(gru_parameters(64) / 1e6) == 23


def test_every_channel_of_every_bin_is_normalised_over_batch_and_frames():
    norm = SequenceNorm(2, 3).train()
    x = 4 + 3 * torch.randn(5, 2, 3, 7)
    y = norm(x)
    expected = (x - x.mean((0, 3), keepdim=True)) / (x.var((0, 3), correction=0, keepdim=True) + norm.eps).sqrt()
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


def test_residual_block_clips_at_twenty():
    block = ResidualBlock(3, 4).eval()
    x = 30 * torch.randn(2, 3, 4, 9)
    hidden = functional.conv2d(x, block.conv1.weight, padding=1) / (1 + 1e-5) ** 0.5
    hidden = hidden.clamp(0, 20)
    expected = functional.conv2d(hidden, block.conv2.weight, padding=1) / (1 + 1e-5) ** 0.5 + x
    torch.testing.assert_close(block(x), expected.clamp(0, 20), rtol=1e-4, atol=1e-4)


def test_the_embedding_is_affine_in_the_mean_over_frames():
    model = ResCNN(20, 6, channels=(4, 4, 8, 8)).eval()
    x = torch.randn(2, 37, 20)
    maps = model.layers(x.transpose(1, 2).unsqueeze(1))
    assert maps.shape == (2, 8, 2, 3)
    by_frame = torch.stack([model.affine(maps[..., i].flatten(1)) for i in range(3)])
    torch.testing.assert_close(model(x), by_frame.mean(0))


def test_recurrent_layers_are_those_of_torch():
    torch.manual_seed(0)
    model = DeepSpeakerGRU(10, 6, hidden_size=7).eval()
    torch_gru = torch.nn.GRU(64 * 5, 7, num_layers=3, batch_first=True)
    torch_gru.load_state_dict(model.gru.state_dict())
    x = torch.randn(2, 11, 10)
    maps = model.conv(x.transpose(1, 2).unsqueeze(1))  # [2, 64, 5, 6]
    sequence = torch.stack([maps[..., i].flatten(1) for i in range(6)], dim=1)
    expected = model.affine(torch_gru(sequence)[0].mean(1))
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize(
    "model", [ResCNN(16, 6, channels=(4, 4)), DeepSpeakerGRU(16, 6, hidden_size=5)], ids=["ResCNN", "GRU"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traced_it_takes_any_batch_and_length(model):
    traced = torch.jit.trace(model.eval(), (torch.randn(2, 20, 16),))
    for batch, frames in ((1, 1), (3, 7), (2, 41)):
        x = torch.randn(batch, frames, 16)
        torch.testing.assert_close(traced(x), model(x))
