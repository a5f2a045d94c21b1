"""The mvector package 1.1 on PyPI. Its files hold ``nn.Sequential(backbone[, classifier])``."""

from collections.abc import Callable, Sequence

from mvector.errors import ConfigError
from mvector.zoo.published import Published
from mvector.zoo.three_d_speaker import PLAIN_LAYERS, require_plain_layers, require_ungrouped

NOT_EMBEDDING = r"1\."  # the classifier


def campplus(
    input_size: int,
    embd_dim: int = 512,
    growth_rate: int = 32,
    bn_size: int = 4,
    init_channels: int = 128,
    config_str: str = PLAIN_LAYERS,
    memory_efficient: bool = True,  # how it trains, not what it computes
) -> Published:
    require_plain_layers(config_str)
    return Published(
        "CAMPPlus",
        {
            "input_size": input_size,
            "embd_dim": embd_dim,
            "growth_rate": growth_rate,
            "bn_size": bn_size,
            "init_channels": init_channels,
        },
    )


def ecapa_tdnn(
    input_size: int,
    embd_dim: int = 192,
    pooling_type: str = "ASP",
    channels: Sequence[int] = (512, 512, 512, 512, 1536),
    kernel_sizes: Sequence[int] = (5, 3, 3, 3, 1),
    dilations: Sequence[int] = (1, 2, 3, 4, 1),
    attention_channels: int = 128,
    res2net_scale: int = 8,
    se_channels: int = 128,
    global_context: bool = True,
    groups: Sequence[int] = (1, 1, 1, 1, 1),
) -> Published:
    arguments = dict(locals())
    require_ungrouped(arguments.pop("groups"))
    return Published("EcapaTdnn", arguments)


def tdnn(input_size: int, channels: int = 512, embd_dim: int = 192, pooling_type: str = "ASP") -> Published:
    return Published("TDNN", dict(locals()))


# Its TSTP is 3D-Speaker's.
TSTP = {"pooling_type": "TSTP", "pooling_args": {"epsilon": 1e-8}}


def eres2net(
    input_size: int,
    num_blocks: Sequence[int] = (3, 4, 6, 3),
    m_channels: int = 32,
    mul_channel: int = 1,
    expansion: int = 2,
    base_width: int = 32,
    scale: int = 2,
    embd_dim: int = 192,
    two_emb_layer: bool = False,
) -> Published:
    arguments = dict(locals())
    if 2 * arguments.pop("mul_channel") != expansion:
        raise ConfigError(
            f"mvector ERes2Net: mul_channel must be half of expansion, found {mul_channel} and {expansion}; "
            "the package's own network cannot run with other values."
        )
    return Published("ERes2Net", arguments | TSTP)


def eres2net_v2(
    input_size: int,
    num_blocks: Sequence[int] = (3, 4, 6, 3),
    m_channels: int = 32,
    expansion: int = 2,
    base_width: int = 26,
    scale: int = 2,
    embd_dim: int = 192,
    two_emb_layer: bool = False,
) -> Published:
    return Published("ERes2NetV2", locals() | TSTP)


def res2net(
    input_size: int,
    m_channels: int = 32,
    layers: Sequence[int] = (3, 4, 6, 3),
    base_width: int = 32,
    scale: int = 2,
    embd_dim: int = 192,
    pooling_type: str = "ASP",
) -> Published:
    return Published("Res2Net", dict(locals()))


def resnet_se(
    input_size: int,
    layers: Sequence[int] = (3, 4, 6, 3),
    num_filters: Sequence[int] = (32, 64, 128, 256),
    embd_dim: int = 192,
    pooling_type: str = "ASP",
) -> Published:
    return Published("ResNetSE", dict(locals()))


ARCHITECTURES: dict[str, Callable[..., Published]] = {
    "CAMPPlus": campplus,
    "EcapaTdnn": ecapa_tdnn,
    "TDNN": tdnn,
    "ERes2Net": eres2net,
    "ERes2NetV2": eres2net_v2,
    "Res2Net": res2net,
    "ResNetSE": resnet_se,
}
