import math

import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.panns_cnn import PANNS_CNN

# Of CNN6, CNN10 and CNN14 with 64 mel bins and AudioSet's 527 tags (Kong 2020, the table of complexities).
PUBLISHED = {6: 4_837_455, 10: 5_219_279, 14: 80_753_615}
WIDTHS = {6: (64, 128, 256, 512), 10: (64, 128, 256, 512), 14: (64, 128, 256, 512, 1024, 2048)}


def parameters_of_the_table(depth: int, bins: int, outputs: int) -> int:
    """CNN6: one 5x5 convolution a block; the others: two of 3x3; batch norm after each and on the bins."""
    total, inputs = 2 * bins, 1
    for width in WIDTHS[depth]:
        total += 25 * inputs * width + 2 * width if depth == 6 else 9 * (inputs + width) * width + 4 * width
        inputs = width
    return total + inputs * inputs + inputs + inputs * outputs + outputs


@pytest.mark.parametrize("depth", [6, 10, 14])
def test_parameter_count(depth):
    def count(*arguments):
        with torch.device("meta"):
            return sum(p.numel() for p in PANNS_CNN(*arguments, depth=depth).parameters())

    assert count(64, 527) == PUBLISHED[depth] == parameters_of_the_table(depth, 64, 527)
    assert count(80) == parameters_of_the_table(depth, 80, 192)
    assert f"{count(80):,}" in PANNS_CNN.__doc__
    assert f"{PUBLISHED[depth]:,}" in PANNS_CNN.__doc__


@pytest.mark.parametrize("depth", [6, 10, 14])
def test_keys_are_the_published_ones(depth):
    convolutions = (1,) if depth == 6 else (1, 2)
    size = 5 if depth == 6 else 3
    expected = {"bn0.weight": (64,), "bn0.bias": (64,), "bn0.running_mean": (64,), "bn0.running_var": (64,)}
    inputs = 1
    for block, width in enumerate(WIDTHS[depth], start=1):
        for i in convolutions:
            expected[f"conv_block{block}.conv{i}.weight"] = (width, inputs, size, size)
            for key in ("weight", "bias", "running_mean", "running_var"):
                expected[f"conv_block{block}.bn{i}.{key}"] = (width,)
            inputs = width
    expected |= {"fc1.weight": (inputs, inputs), "fc1.bias": (inputs,)}
    with torch.device("meta"):
        state = PANNS_CNN(64, depth=depth).state_dict()
    ours = {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert {key for key in ours if key not in expected} == {"embedding.weight", "embedding.bias"}
    assert {key: ours[key] for key in expected} == expected


@pytest.mark.parametrize("depth", [6, 10, 14])
@pytest.mark.parametrize("frames", [70, 11])
def test_values_are_those_of_the_published_steps(depth, frames):
    torch.manual_seed(depth)
    model = PANNS_CNN(36, 5, depth, channels=3)
    model.train()(torch.randn(4, 40, 36))
    model.eval()
    state = model.state_dict()

    def norm(x, key):
        statistics = [state[f"{key}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *statistics)

    features = torch.randn(2, frames, 36)
    least = 32 if depth == 14 else 16
    x = torch.cat([features] * math.ceil(least / frames), dim=1)
    x = norm(x.transpose(1, 2), "bn0").transpose(1, 2).unsqueeze(1)  # [2, 1, F, D]
    blocks = 6 if depth == 14 else 4
    for block in range(1, blocks + 1):
        for i in (1,) if depth == 6 else (1, 2):
            name = f"conv_block{block}"
            x = functional.conv2d(x, state[f"{name}.conv{i}.weight"], padding=2 if depth == 6 else 1)
            x = norm(x, f"{name}.bn{i}").relu()
        x = functional.avg_pool2d(x, 1 if block == 6 else 2)
    x = x.mean(3)
    x = x.max(2).values + x.mean(2)
    hidden = functional.linear(x, state["fc1.weight"], state["fc1.bias"]).relu()
    expected = functional.linear(hidden, state["embedding.weight"], state["embedding.bias"])
    torch.testing.assert_close(model(features), expected, rtol=1e-4, atol=1e-5)


def test_training_drops_out_and_evaluation_does_not():
    model = PANNS_CNN(16, 5, 6, channels=3)
    x = torch.randn(4, 20, 16)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize(
    ("bins", "depth", "message"),
    [
        (64, 12, "depth must be 6, 10 or 14, found 12"),
        (15, 10, "depth 10 needs at least 16 bins, found 15"),
        (31, 14, "depth 14 needs at least 32 bins, found 31.*smaller depth"),
    ],
)
def test_wrong_arguments(bins, depth, message):
    with pytest.raises(ConfigError, match=message):
        PANNS_CNN(bins, depth=depth)
