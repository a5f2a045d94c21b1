"""The r-vector family: counts of the published networks, and the network written out over published names."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.resnet import DEPTHS, ResNet
from mvector.registry import POOLINGS

# Parameters and state-dict entries of WeSpeaker's networks with 80 bins and 256 values.
PUBLISHED = [
    (18, 4_105_440, 122),
    (34, 6_634_336, 218),
    (50, 11_131_360, 320),
    (101, 15_892_448, 626),
    (152, 19_814_880, 932),
    (221, 23_792_224, 1346),
    (293, 28_626_016, 1778),
]


def test_published_depths_are_all_there():
    assert list(DEPTHS) == [depth for depth, _, _ in PUBLISHED]


@pytest.mark.parametrize(("depth", "parameters", "entries"), PUBLISHED)
def test_parameters_and_entries(depth, parameters, entries):
    with torch.device("meta"):
        model = ResNet(80, depth=depth)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


def test_second_embedding_layer_is_that_of_3d_speaker():
    with torch.device("meta"):
        model = ResNet(80, 192, two_emb_layer=True)
    assert sum(p.numel() for p in model.parameters()) == 6_343_648
    assert len(model.state_dict()) == 223
    assert {"seg_2.weight", "seg_bn_1.running_mean"} <= set(model.state_dict())


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Evaluation mode with batch-norm statistics and affine parameters that differ from the initial ones."""
    generator = torch.Generator().manual_seed(5)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(0.5 + noise if name.endswith(("weight", "running_var")) else noise - 0.5)
    return model.eval()


class WrittenOut:
    """The published forward pass from the entries of a state dict alone."""

    def __init__(self, state: dict[str, Tensor]):
        self.state = state

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            self.state[f"{name}.{entry}"].reshape(1, -1, 1, 1)
            for entry in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        if f"{name}.conv3.weight" in self.state:  # a bottleneck has its stride on the 3x3 convolution
            y = self.norm(self.conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
            y = self.norm(self.conv(y, f"{name}.conv2", stride), f"{name}.bn2").relu()
            y = self.norm(self.conv(y, f"{name}.conv3"), f"{name}.bn3")
        else:
            y = self.norm(self.conv(x, f"{name}.conv1", stride), f"{name}.bn1").relu()
            y = self.norm(self.conv(y, f"{name}.conv2"), f"{name}.bn2")
        if f"{name}.shortcut.0.weight" in self.state:
            x = self.norm(self.conv(x, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
        return (x + y).relu()

    def maps(self, features: Tensor) -> Tensor:
        x = self.norm(self.conv(features.transpose(1, 2).unsqueeze(1), "conv1"), "bn1").relu()
        for stage in range(1, 5):
            blocks = {int(key.split(".")[1]) for key in self.state if key.startswith(f"layer{stage}.")}
            for i in sorted(blocks):
                x = self.block(x, f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1)
        return x

    def linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("two_emb_layer", [False, True])
def test_forward_is_the_published_one(depth, two_emb_layer):
    torch.manual_seed(0)
    model = randomised(ResNet(24, 7, depth, m_channels=4, two_emb_layer=two_emb_layer, num_blocks=(1, 2, 1, 1)))
    model.double()
    features = torch.randn(2, 37, 24, dtype=torch.float64)
    written_out = WrittenOut(model.state_dict())
    maps = written_out.maps(features)
    assert maps.shape == (2, 4 * 8 * (1 if depth == 18 else 4), 3, 5)
    statistics = torch.cat([maps.mean(3).flatten(1), (maps.var(3) + 1e-7).sqrt().flatten(1)], dim=1)
    expected = written_out.linear(statistics, "seg_1")
    if two_emb_layer:
        mean, variance = (model.state_dict()[f"seg_bn_1.running_{entry}"] for entry in ("mean", "var"))
        expected = written_out.linear((expected.relu() - mean) / (variance + 1e-5).sqrt(), "seg_2")
    torch.testing.assert_close(model(features), expected)


@pytest.mark.parametrize("bins", [9, 24, 60, 81])
def test_any_number_of_bins(bins):
    model = ResNet(bins, 6, depth=18, m_channels=2, num_blocks=(1, 1, 1, 1)).eval()
    assert model(torch.randn(1, 20, bins)).shape == (1, 6)


@pytest.mark.parametrize(
    ("pooling", "options", "per_channel"),
    [
        ("TAP", None, 1),
        ("TSDP", None, 1),
        ("TSTP", {"epsilon": 1e-8}, 2),
        ("ASTP", {"global_context_att": True}, 2),
        ("MHASTP", None, 2),
        ("MQMHASTP", {"query_num": 3}, 6),
    ],
)
def test_poolings_and_their_arguments(pooling, options, per_channel):
    model = ResNet(16, 6, 18, m_channels=2, pooling_type=pooling, pooling_args=options, num_blocks=(1, 1, 1, 1))
    assert model.seg_1.in_features == per_channel * 8 * 2 * 2
    assert model.eval()(torch.randn(2, 20, 16)).shape == (2, 6)


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_every_pooling_trains(pooling_type):
    model = ResNet(20, 6, 18, m_channels=2, pooling_type=pooling_type, num_blocks=(1, 1, 1, 1)).train()
    embeddings = model(torch.randn(3, 25, 20))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_single_frame_after_the_strides_has_variance_zero():
    model = ResNet(16, 6, 18, m_channels=2, num_blocks=(1, 1, 1, 1)).eval()
    expected = WrittenOut(model.state_dict())
    features = torch.randn(2, 8, 16)
    means = expected.maps(features)[..., 0].flatten(1)
    statistics = torch.cat([means, torch.full_like(means, 1e-7**0.5)], dim=1)
    torch.testing.assert_close(model(features), expected.linear(statistics, "seg_1"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 35}, "no depth 35; choose 18, 34, 50, 101, 152, 221, 293"),
        ({"num_blocks": (3, 4, 6)}, r"four stages .* blocks \[3, 4, 6\]"),
        ({"num_blocks": (3, 4, 0, 3)}, r"at least one; .* blocks \[3, 4, 0, 3\]"),
        ({"pooling_type": "TSTPP"}, "unknown pooling 'TSTPP'.*Did you mean 'TSTP'"),
        ({"pooling_type": "MQMHASTP", "pooling_args": {"heads": 2}}, "takes no argument 'heads'.*head_num"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ResNet(80, m_channels=2, **arguments)
