"""WeSpeaker. Its networks end in a pair or an embedding; ours always give the embedding alone."""

from collections.abc import Callable, Sequence

from mvector.errors import ConfigError
from mvector.models.redimnet import SIZES
from mvector.zoo.published import Published
from mvector.zoo.three_d_speaker import PLAIN_LAYERS, require_plain_layers

NOT_EMBEDDING = r"projection\."  # the classifier that avg_model.pt still carries


def eres2net(
    m_channels: int,
    num_blocks: Sequence[int],
    baseWidth: int = 32,
    scale: int = 2,
    expansion: int = 2,
    feat_dim: int = 80,
    embed_dim: int = 192,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
) -> Published:
    """3D-Speaker's ERes2Net; the first of the convolutions of a block in stages 3 and 4 has a name of its own."""
    arguments = {
        "input_size": feat_dim,
        "embd_dim": embed_dim,
        "pooling_type": pooling_func,
        "num_blocks": num_blocks,
        "m_channels": m_channels,
        "base_width": baseWidth,
        "scale": scale,
        "expansion": expansion,
        "two_emb_layer": two_emb_layer,
    }
    late_block = r"^(layer[34]\.\d+)\."
    # From the last convolution on, so that no name is moved twice.
    moves = [(rf"{late_block}(convs|bns)\.{i}\.", rf"\1.\2.{i + 1}.") for i in reversed(range(scale - 1))]
    firsts = [(late_block + r"conv2_1\.", r"\1.convs.0."), (late_block + r"bn2_1\.", r"\1.bns.0.")]
    return Published("ERes2Net", arguments, (*moves, *firsts))


def eres2net34_base(
    feat_dim: int, embed_dim: int, pooling_func: str = "TSTP", two_emb_layer: bool = False
) -> Published:
    return eres2net(32, (3, 4, 6, 3), **locals())


def eres2net34_large(
    feat_dim: int, embed_dim: int, pooling_func: str = "TSTP", two_emb_layer: bool = False
) -> Published:
    return eres2net(64, (3, 4, 6, 3), **locals())


def eres2net34_aug(
    feat_dim: int,
    embed_dim: int,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
    expansion: int = 4,
    baseWidth: int = 24,
    scale: int = 3,
) -> Published:
    return eres2net(64, (3, 4, 6, 3), **locals())


def res2net(
    m_channels: int,
    num_blocks: Sequence[int],
    feat_dim: int = 80,
    embed_dim: int = 192,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
) -> Published:
    return Published(
        "Res2Net34",
        {
            "input_size": feat_dim,
            "embd_dim": embed_dim,
            "pooling_type": pooling_func,
            "num_blocks": num_blocks,
            "m_channels": m_channels,
            "two_emb_layer": two_emb_layer,
        },
    )


def res2net34_base(feat_dim: int, embed_dim: int, pooling_func: str = "TSTP", two_emb_layer: bool = False) -> Published:
    return res2net(32, (3, 4, 6, 3), **locals())


def res2net34_large(
    feat_dim: int, embed_dim: int, pooling_func: str = "TSTP", two_emb_layer: bool = False
) -> Published:
    return res2net(64, (3, 4, 6, 3), **locals())


def resnet(
    block: str,
    num_blocks: Sequence[int],
    m_channels: int = 32,
    feat_dim: int = 40,
    embed_dim: int = 128,
    pooling_func: str = "TSTP",
    two_emb_layer: bool = False,
) -> Published:
    """`block` is the name of the class that the published constructor takes."""
    depths = {"BasicBlock": 34, "Bottleneck": 50}  # that have these blocks
    if block not in depths:
        raise ConfigError(f"wespeaker ResNet: unknown block {block!r}; there are: {', '.join(depths)}.")
    published = resnet_of_depth(depths[block])(feat_dim, embed_dim, pooling_func, two_emb_layer)
    return Published("ResNet", published.arguments | {"m_channels": m_channels, "num_blocks": num_blocks})


def resnet_of_depth(depth: int) -> Callable[..., Published]:
    """The constructor of ResNet18 to ResNet293."""

    def translate(feat_dim: int, embed_dim: int, pooling_func: str = "TSTP", two_emb_layer: bool = False) -> Published:
        arguments = {
            "input_size": feat_dim,
            "embd_dim": embed_dim,
            "depth": depth,
            "pooling_type": pooling_func,
            "two_emb_layer": two_emb_layer,
        }
        return Published("ResNet", arguments)

    return translate


def simam_resnet(depth: int) -> Callable[..., Published]:
    """The constructor of SimAM_ResNet34_ASP and SimAM_ResNet100_ASP."""

    def translate(in_planes: int = 64, embed_dim: int = 256, acoustic_dim: int = 80, dropout: float = 0) -> Published:
        arguments = {
            "input_size": acoustic_dim,
            "embd_dim": embed_dim,
            "depth": depth,
            "m_channels": in_planes,
            "dropout": dropout,
        }
        return Published("SimAMResNet", arguments)

    return translate


def xvec(
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
        },
    )


def ecapa_tdnn(
    channels: int = 512,
    feat_dim: int = 80,
    embed_dim: int = 192,
    pooling_func: str = "ASTP",
    global_context_att: bool = False,
    emb_bn: bool = False,
) -> Published:
    return Published(
        "EcapaTdnnGlob",
        {
            "input_size": feat_dim,
            "embd_dim": embed_dim,
            "channels": channels,
            "pooling_type": pooling_func,
            "pooling_args": {"global_context_att": global_context_att} if pooling_func == "ASTP" else {},
            "emb_bn": emb_bn,
        },
    )


def ecapa_tdnn_of(channels: int, global_context_att: bool) -> Callable[..., Published]:
    """The constructor of ECAPA_TDNN_c512 and its like."""

    def translate(feat_dim: int, embed_dim: int, pooling_func: str = "ASTP", emb_bn: bool = False) -> Published:
        return ecapa_tdnn(channels, feat_dim, embed_dim, pooling_func, global_context_att, emb_bn)

    return translate


def redimnet(size: str, bins: int) -> Callable[..., Published]:
    """The constructor of ReDimNetB0 and its like."""

    def translate(
        feat_dim: int = bins, embed_dim: int = 192, pooling_func: str = "ASTP", two_emb_layer: bool = False
    ) -> Published:
        arguments = {
            "input_size": feat_dim,
            "embd_dim": embed_dim,
            "size": size,
            "pooling_type": pooling_func,
            "two_emb_layer": two_emb_layer,
        }
        return Published("ReDimNet", arguments)

    return translate


def campplus(
    feat_dim: int = 80,
    embed_dim: int = 512,
    pooling_func: str = "TSTP",
    growth_rate: int = 32,
    bn_size: int = 4,
    init_channels: int = 128,
    config_str: str = PLAIN_LAYERS,
) -> Published:
    require_plain_layers(config_str)
    arguments = {
        "input_size": feat_dim,
        "embd_dim": embed_dim,
        "growth_rate": growth_rate,
        "bn_size": bn_size,
        "init_channels": init_channels,
        "pooling_type": pooling_func,
    }
    # The published network has its pooling under two names; a checkpoint holds the weights twice.
    return Published("CAMPPlus", arguments, ((r"^pool\.", "xvector.stats."),))


ARCHITECTURES: dict[str, Callable[..., Published]] = {
    "CAMPPlus": campplus,
    "ECAPA_TDNN": ecapa_tdnn,
    "ECAPA_TDNN_c512": ecapa_tdnn_of(512, global_context_att=False),
    "ECAPA_TDNN_c1024": ecapa_tdnn_of(1024, global_context_att=False),
    "ECAPA_TDNN_GLOB_c512": ecapa_tdnn_of(512, global_context_att=True),
    "ECAPA_TDNN_GLOB_c1024": ecapa_tdnn_of(1024, global_context_att=True),
    **{f"ReDimNet{size}": redimnet(size, 60 if size == "B0" else 72) for size in SIZES},
    "XVEC": xvec,
    "ERes2Net": eres2net,
    "ERes2Net34_Base": eres2net34_base,
    "ERes2Net34_Large": eres2net34_large,
    "ERes2Net34_aug": eres2net34_aug,
    "Res2Net": res2net,
    "Res2Net34_Base": res2net34_base,
    "Res2Net34_Large": res2net34_large,
    "ResNet": resnet,
    **{f"ResNet{depth}": resnet_of_depth(depth) for depth in (18, 34, 50, 101, 152, 221, 293)},
    "SimAM_ResNet34_ASP": simam_resnet(34),
    "SimAM_ResNet100_ASP": simam_resnet(100),
}
