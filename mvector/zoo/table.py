"""The table of all networks, `docs/models.md`: sizes are measured on the code, published results are quoted."""

import inspect
import re
import warnings
from dataclasses import dataclass
from typing import Any

import torch

from mvector.registry import BACKBONES
from mvector.zoo.published import Published, describe

SECONDS, FRAMES = 3, 298  # of Fbank with windows of 25 ms every 10 ms

INTRODUCTION = f"""\
# Models

Made from the code by `python -m mvector.zoo`; do not edit by hand.

One row a network; the first column is `model_conf.model` in a configuration and what is set in `model_args` beside the
defaults. Parameters, multiplications (GMAC, of convolutions and matrix products, for {SECONDS} s of speech: {FRAMES}
frames), embedding size and the least number of frames are counted on the network itself. "Equals" names published
implementations whose checkpoints `mvector.zoo.from_published` reads and whose outputs ours reproduces (to 1e-4 of the
largest value, tested). The last two columns quote EERs that those implementations publish, with their own training;
they were **not** measured here. Recipes, scoring and trial lists differ between the sources, so compare within one
source only:

- WS: WeSpeaker, trained on VoxCeleb2 (CN-Celeb 1 and 2), cosine after subtracting the training mean.
- 3DS: 3D-Speaker, the same data, plain cosine; LM: after large-margin fine-tuning.
- MV: the mvector package's README, trained on CN-Celeb.
- SB: SpeechBrain, trained on VoxCeleb 1 and 2.

Vox1-O is the cleaned list.
"""

COLUMNS = (
    *("network", "bins", "parameters", "GMAC", "embedding", "frames ≥", "equals"),
    *("Vox1-O EER %", "CN-Celeb EER %", "paper"),
)


@dataclass(frozen=True)
class Row:
    """A network: how published implementations call it, or our own name; and the results that they publish."""

    equals: tuple[tuple[str, str, dict[str, Any]], ...] = ()  # (family, architecture, arguments)
    vox1_o: str = ""
    cn_celeb: str = ""
    ours: Published | None = None  # where nothing published is read

    @property
    def network(self) -> Published:
        return self.ours or describe(*self.equals[0])


def _ws(architecture: str, embed_dim: int, feat_dim: int = 80) -> tuple[str, str, dict[str, Any]]:
    return "wespeaker", architecture, {"feat_dim": feat_dim, "embed_dim": embed_dim}


def _3ds(architecture: str, **arguments: Any) -> tuple[str, str, dict[str, Any]]:
    return "3dspeaker", architecture, {"feat_dim": 80, **arguments}


def _mv(architecture: str) -> tuple[str, str, dict[str, Any]]:
    return "mvector", architecture, {"input_size": 80, "embd_dim": 192}


def _own(backbone: str, input_size: int, **arguments: Any) -> Row:
    return Row(ours=Published(backbone, {"input_size": input_size, **arguments}))


_LARGE_ECAPA = {"input_size": 80, "channels": [1024, 1024, 1024, 1024, 3072]}

ROWS = (
    Row((_mv("EcapaTdnn"), ("3dspeaker", "ECAPA_TDNN", {"input_size": 80})), cn_celeb="9.26 MV"),
    Row(
        (("3dspeaker", "ECAPA_TDNN", _LARGE_ECAPA), ("speechbrain", "ECAPA_TDNN", _LARGE_ECAPA)),
        "0.86 3DS, 0.90 SB",
        "8.01 3DS",
    ),
    Row((_ws("ECAPA_TDNN_GLOB_c512", 192),), "1.07 WS", "8.31 WS"),
    Row((_ws("ECAPA_TDNN_GLOB_c1024", 192),), "0.86 WS", "7.88 WS"),
    Row((_ws("ECAPA_TDNN_c512", 192),)),
    Row((_ws("ECAPA_TDNN_c1024", 192),)),
    Row((_3ds("CAMPPlus", embedding_size=192), _mv("CAMPPlus")), "", "8.33 MV"),
    Row((_3ds("CAMPPlus", embedding_size=512),), "0.73 3DS", "6.78 3DS"),
    Row((_ws("CAMPPlus", 512),), "0.80 WS"),
    Row((_3ds("ERes2Net", embedding_size=192, m_channels=32), _mv("ERes2Net")), "0.97 3DS", "6.69 3DS, 8.13 MV"),
    Row((_3ds("ERes2Net", embedding_size=192, m_channels=64),), "0.52 3DS (LM)", "6.17 3DS"),
    Row((_3ds("ERes2Net_huge", embedding_size=192),)),
    Row((_ws("ERes2Net34_Base", 512),), "0.91 WS"),
    Row((_ws("ERes2Net34_Large", 512),)),
    Row((_ws("ERes2Net34_aug", 192),)),
    Row((_mv("ERes2NetV2"),), "", "8.07 MV"),
    Row(
        (_3ds("ERes2NetV2", embedding_size=192, baseWidth=26, scale=2, expansion=2),),
        "0.68 3DS, 0.61 (LM)",
        "6.14 3DS (LM)",
    ),
    Row((_3ds("ERes2NetV2", embedding_size=192, baseWidth=24, scale=4, expansion=4),)),
    Row((_mv("Res2Net"),), "", "12.44 MV"),
    Row((_3ds("Res2Net", embedding_size=192),), "1.56 3DS", "7.96 3DS"),
    Row((_ws("Res2Net34_Base", 256),), "1.35 WS"),
    Row((_ws("Res2Net34_Large", 256),)),
    Row((_mv("ResNetSE"),), "", "8.54 MV"),
    *(
        Row((_ws(f"ResNet{depth}", 256),), vox1_o, cn_celeb)
        for depth, vox1_o, cn_celeb in (
            (18, "", ""),
            (34, "0.87 WS", "7.13 WS"),
            (50, "", ""),
            (101, "", ""),
            (152, "", ""),
            (221, "0.57 WS", "5.97 WS"),
            (293, "0.60 WS", ""),
        )
    ),
    Row((("3dspeaker", "ResNet34", {"feat_dim": 80, "embedding_size": 192}),), "1.05 3DS", "6.92 3DS"),
    Row((("wespeaker", "SimAM_ResNet34_ASP", {"in_planes": 64, "embed_dim": 256}),), "0.42 WS (VoxBlink2, LM)"),
    Row((("wespeaker", "SimAM_ResNet100_ASP", {"in_planes": 64, "embed_dim": 256}),), "0.23 WS (VoxBlink2, LM)"),
    *(Row((_ws(f"ReDimNetB{size}", 192, 72 if size else 60),)) for size in range(7)),
    Row((_mv("TDNN"),), "", "10.83 MV"),
    Row((_ws("XVEC", 512),), "1.99 WS"),
    Row((("3dspeaker", "Xvector", {"feat_dim": 80}),), "2.22 3DS"),
    Row((("resemblyzer", "VoiceEncoder", {}),)),
    _own("ThinResNet", 257),
    _own("ThinResNet", 257, size="large"),
    _own("ResCNN", 64),
    _own("DeepSpeakerGRU", 64),
    _own("VGGVox", 257),
    _own("PANNS_CNN", 64, depth=6),
    _own("PANNS_CNN", 64, depth=10),
    _own("PANNS_CNN", 64, depth=14),
)


def table() -> str:
    """The Markdown text of `docs/models.md`."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [_line(row) for row in sorted(ROWS, key=lambda row: row.network.backbone)]
    return INTRODUCTION + "\n" + "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    network = row.network
    model, giga_multiplications = measure(network)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    equals = ", ".join(f"{family} `{architecture}`" for family, architecture, _ in row.equals) or "–"
    cells = [
        f"`{network.backbone}`{_settings(network)}",
        str(network.arguments["input_size"]),
        f"{parameters:,}",
        f"{giga_multiplications:.2f}",
        str(model.embd_dim),
        str(model.min_frames),
        equals,
        row.vox1_o or "–",
        row.cn_celeb or "–",
        paper_of(network.backbone),
    ]
    return f"| {' | '.join(cells)} |"


def measure(network: Published) -> tuple[Any, float]:
    """The network, and its multiplications for one utterance of 3 s in units of 10^9; nothing is computed."""
    from torch._subclasses import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    with warnings.catch_warnings(), FakeTensorMode(), FlopCounterMode(display=False) as counter:
        warnings.simplefilter("ignore")  # about Intel GPUs, from the next line
        # Without oneDNN, whose recurrent layers are one operation that the counter does not know.
        with torch.backends.mkldnn.flags(enabled=False), torch.inference_mode():
            model = BACKBONES.build(network.backbone, network.arguments).eval()
            model(torch.zeros(1, FRAMES, network.arguments["input_size"]))
    return model, counter.get_total_flops() / 2e9


def paper_of(backbone: str) -> str:
    """'Author year, "Title"' as the class's docstring names it first."""
    text = " ".join((inspect.getdoc(BACKBONES.get(backbone)) or "").split())
    found = re.search(r'[A-Z]\w+ (?:19|20)\d\d, "[^"]+"', text)
    return found[0] if found else ""


def _settings(network: Published) -> str:
    """The arguments that differ from the class's defaults, sizes that have a column of their own left out."""
    parameters = inspect.signature(BACKBONES.get(network.backbone)).parameters
    shown = {
        key: value
        for key, value in network.arguments.items()
        if key not in ("input_size", "embd_dim") and _plain(value) != _plain(parameters[key].default)
    }
    return "".join(f" `{key}={_plain(value)}`" for key, value in shown.items() if value not in (None, {}))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
