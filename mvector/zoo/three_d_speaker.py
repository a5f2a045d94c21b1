"""3D-Speaker (ModelScope checkpoints)."""

from collections.abc import Callable, Sequence

from mvector.errors import ConfigError
from mvector.zoo.published import Published

NOT_EMBEDDING = r"(classifier|projection)\."
PLAIN_LAYERS = "batchnorm-relu"


def require_plain_layers(config_str: str) -> None:
    """Raise ConfigError for a CAM++ whose activations are others than in every published checkpoint."""
    if config_str != PLAIN_LAYERS:
        raise ConfigError(f"CAMPPlus: config_str {config_str!r} is not supported; the only one is {PLAIN_LAYERS!r}.")


def require_ungrouped(groups: Sequence[int]) -> None:
    """Raise ConfigError for an ECAPA-TDNN with grouped convolutions, which no published checkpoint has."""
    if any(count != 1 for count in groups):
        raise ConfigError(f"ECAPA-TDNN: groups {list(groups)} are not supported; each must be 1.")


def campplus(
    feat_dim: int = 80,
    embedding_size: int = 512,
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
            "input_size": feat_dim,
            "embd_dim": embedding_size,
            "growth_rate": growth_rate,
            "bn_size": bn_size,
            "init_channels": init_channels,
        },
    )


def ecapa_tdnn(
    input_size: int,
    device: str = "cpu",  # not used by the published constructor either
    lin_neurons: int = 192,
    channels: Sequence[int] = (512, 512, 512, 512, 1536),
    kernel_sizes: Sequence[int] = (5, 3, 3, 3, 1),
    dilations: Sequence[int] = (1, 2, 3, 4, 1),
    attention_channels: int = 128,
    res2net_scale: int = 8,
    se_channels: int = 128,
    global_context: bool = True,
    groups: Sequence[int] = (1, 1, 1, 1, 1),
) -> Published:
    require_ungrouped(groups)
    return Published(
        "EcapaTdnn",
        {
            "input_size": input_size,
            "embd_dim": lin_neurons,
            "channels": channels,
            "kernel_sizes": kernel_sizes,
            "dilations": dilations,
            "attention_channels": attention_channels,
            "res2net_scale": res2net_scale,
            "se_channels": se_channels,
            "global_context": global_context,
        },
    )


# The poolings are WeSpeaker's (our defaults) with another epsilon.
EPSILONS = {"TSTP": 1e-8, "TSDP": 1e-8, "ASTP": 1e-10}


def res2net_family(
    backbone: str,
    num_blocks: Sequence[int],
    m_channels: int,
    feat_dim: int,
    embedding_size: int,
    pooling_func: str,
    two_emb_layer: bool,
    **widths: int,
) -> Published:
    """One of the networks that are built like Res2Net34; `widths` are base_width, scale and expansion if not ours."""
    arguments = {
        "input_size": feat_dim,
        "embd_dim": embedding_size,
        "pooling_type": pooling_func,
        "pooling_args": {"epsilon": EPSILONS[pooling_func]} if pooling_func in EPSILONS else {},
        "num_blocks": num_blocks,
        "m_channels": m_channels,
        "two_emb_layer": two_emb_layer,
    }
    return Published(backbone, arguments | widths)


def eres2net(
    num_blocks: Sequence[int] = (3, 4, 6, 3),
    m_channels: int = 32,
    feat_dim: int = 80,
    embedding_size: int = 192,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
) -> Published:
    """ERes2Net base; large has m_channels 64."""
    return res2net_family("ERes2Net", **locals())


def eres2net_huge(
    num_blocks: Sequence[int] = (3, 4, 6, 3),
    m_channels: int = 64,
    feat_dim: int = 80,
    embedding_size: int = 192,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
) -> Published:
    """The class ERes2Net of the module ERes2Net_huge."""
    return res2net_family("ERes2Net", **locals(), base_width=24, scale=3, expansion=4)


def eres2net_v2(
    num_blocks: Sequence[int] = (3, 4, 6, 3),
    m_channels: int = 64,
    feat_dim: int = 80,
    embedding_size: int = 192,
    baseWidth: int = 26,
    scale: int = 2,
    expansion: int = 2,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
) -> Published:
    return res2net_family(
        "ERes2NetV2",
        num_blocks,
        m_channels,
        feat_dim,
        embedding_size,
        pooling_func,
        two_emb_layer,
        base_width=baseWidth,
        scale=scale,
        expansion=expansion,
    )


def res2net(
    num_blocks: Sequence[int] = (3, 4, 6, 3),
    m_channels: int = 32,
    feat_dim: int = 80,
    embedding_size: int = 192,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
) -> Published:
    return res2net_family("Res2Net34", **locals())


def resnet(
    num_blocks: Sequence[int] = (3, 4, 6, 3),
    m_channels: int = 32,
    feat_dim: int = 40,
    embedding_size: int = 128,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = True,
) -> Published:
    """The class ResNet, which its own recipes call ResNet34."""
    return res2net_family("ResNet", **locals())


def xvector(
    feat_dim: int = 40,
    hid_dim: int = 512,
    stats_dim: int = 1500,
    embed_dim: int = 512,
    pooling_func: str = "TSTP",
) -> Published:
    return Published(
        "XVector",
        {
            "input_size": feat_dim,
            "embd_dim": embed_dim,
            "channels": hid_dim,
            "stats_channels": stats_dim,
            "pooling_type": pooling_func,
            "pooling_args": {"epsilon": EPSILONS[pooling_func]} if pooling_func in EPSILONS else {},
            "two_emb_layer": False,
        },
    )


ARCHITECTURES: dict[str, Callable[..., Published]] = {
    "CAMPPlus": campplus,
    "Xvector": xvector,
    "XVEC": xvector,  # the same network's name in the modelscope package
    "ECAPA_TDNN": ecapa_tdnn,
    "ERes2Net": eres2net,
    "ERes2Net_huge": eres2net_huge,
    "ERes2Net_aug": eres2net_huge,  # the same network's name in the modelscope package
    "ERes2NetV2": eres2net_v2,
    "Res2Net": res2net,
    "ResNet": resnet,
    "ResNet34": resnet,
}
