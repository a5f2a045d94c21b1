import pytest
import torch

from mvector.errors import ConfigError
from mvector.models.thin_resnet import ThinResNet
from mvector.registry import BACKBONES, POOLINGS

# From the stages of VGG-Speaker-Recognition: times, then channels of the 1x1, 3x3 and 1x1 convolution.
STAGES = {
    "small": [(2, 48, 48, 96), (3, 96, 96, 128), (3, 128, 128, 256), (3, 256, 256, 512)],
    "large": [(3, 64, 64, 256), (3, 128, 128, 512), (3, 256, 256, 1024), (3, 512, 512, 2048)],
}


def parameters_of_the_table(size: str, height: int, pooled: int, pooling: int, embd_dim: int = 512) -> int:
    """Convolutions without bias followed by batch norm; `height` of the descriptors' convolution; what pooling has."""

    def conv_and_norm(area, inputs, outputs):
        return area * inputs * outputs + 2 * outputs

    total = conv_and_norm(7 * 7, 1, 64)
    inputs = 64
    for times, reduce, middle, increase in STAGES[size]:
        total += conv_and_norm(1, inputs, increase)  # projection of the stage's shortcut
        for _ in range(times):
            total += conv_and_norm(1, inputs, reduce) + conv_and_norm(9, reduce, middle)
            total += conv_and_norm(1, middle, increase)
            inputs = increase
    total += height * inputs * 512 + 512
    return total + pooling + pooled * embd_dim + embd_dim


NET_VLAD = 8 * 512 + 8 * (512 + 1)  # centres, and weights and biases of the softmax
GHOST_VLAD = 8 * 512 + 10 * (512 + 1)


@pytest.mark.parametrize(
    ("size", "bins", "pooling_type", "expected"),
    [
        # 80 bins: 40 after the first maximum, then 40, 20, 10, 5 and, after the last maximum, 2. 257 bins: 7.
        ("small", 80, "GhostVLAD", parameters_of_the_table("small", 2, 8 * 512, GHOST_VLAD)),
        ("small", 257, "GhostVLAD", parameters_of_the_table("small", 7, 8 * 512, GHOST_VLAD)),
        ("large", 80, "GhostVLAD", parameters_of_the_table("large", 2, 8 * 512, GHOST_VLAD)),
        ("large", 257, "GhostVLAD", parameters_of_the_table("large", 7, 8 * 512, GHOST_VLAD)),
        ("large", 257, "NetVLAD", parameters_of_the_table("large", 7, 8 * 512, NET_VLAD)),
        ("small", 257, "GMP", parameters_of_the_table("small", 7, 512, 0)),
        ("small", 80, "TAP", parameters_of_the_table("small", 2, 512, 0)),
    ],
)
def test_parameter_count(size, bins, pooling_type, expected):
    with torch.device("meta"):
        model = ThinResNet(bins, size=size, pooling_type=pooling_type)
    assert sum(p.numel() for p in model.parameters()) == expected
    if pooling_type == "GhostVLAD":
        assert f"{expected:,}" in ThinResNet.__doc__


def test_trunk_has_about_the_three_million_parameters_of_the_paper():
    with torch.device("meta"):
        model = ThinResNet(257)
    assert 3e6 < sum(p.numel() for part in (model.conv1, model.blocks) for p in part.parameters()) < 4e6


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize(("bins", "frames"), [(257, 250), (80, 33), (257, 31)])
def test_one_descriptor_for_sixteen_frames(size, bins, frames):
    with torch.device("meta"):
        model = ThinResNet(bins, size=size, pooling_type="TAP").eval()
        seen = []
        model.pooling.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
        model(torch.zeros(2, frames, bins))
    # The first maximum leaves an odd frame out; all other halvings round up.
    after_maximum = frames // 2 if size == "small" else (frames + 1) // 2 // 2
    rest = 8 if size == "small" else 4
    assert seen == [(2, 512, -(-after_maximum // rest))]


@pytest.mark.parametrize("size", ["small", "large"])
def test_any_number_of_bins_down_to_what_the_first_maximum_needs(size):
    least = 2 if size == "small" else 3
    for bins in (least, 5, 16, 33, 129):
        with torch.device("meta"):
            model = ThinResNet(bins, size=size, pooling_type="TAP").eval()
            assert model(torch.zeros(1, 20, bins)).shape == (1, 512)
    with pytest.raises(ConfigError, match=f"at least {least} bins, found {least - 1}"):
        ThinResNet(least - 1, size=size)


@pytest.mark.parametrize(
    ("size", "pooling_type"), [("large", "NetVLAD")] + [("small", name) for name in POOLINGS.names()]
)
def test_poolings_by_name(size, pooling_type):
    torch.manual_seed(0)
    model = ThinResNet(40, 6, size, pooling_type, clusters=3, ghost_clusters=1)
    embeddings = model(torch.randn(3, 20, 40))
    embeddings.sum().backward()
    assert embeddings.shape == (3, 6)
    assert embeddings.min() >= 0
    assert all(p.grad is not None for p in model.parameters())
    if pooling_type.endswith("VLAD"):
        assert len(model.pooling.centres) == 3
        assert model.pooling.assignment.out_features == (4 if pooling_type == "GhostVLAD" else 3)


def test_wrong_size():
    with pytest.raises(ConfigError, match=r"size must be 'small' or 'large', found 'smal'\. Did you mean 'small'"):
        BACKBONES.build("ThinResNet", {"size": "smal"}, input_size=80)
