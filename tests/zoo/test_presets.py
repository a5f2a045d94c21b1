"""Every preset's words build a network of the published size, and a family's features fit it."""

import pytest
import torch

from mvector.errors import ConfigError
from mvector.features import AudioFeaturizer
from mvector.registry import BACKBONES
from mvector.zoo.presets import PRESETS, find_preset
from mvector.zoo.published import FAMILIES, describe
from mvector.zoo.recipes import family_recipe

# Counted in the published implementations.
PARAMETERS = {
    "3dspeaker_campplus_zh_en": 6_848_544,
    "3dspeaker_campplus_zh": 6_848_544,
    "3dspeaker_campplus_voxceleb": 7_176_224,
    "3dspeaker_eres2net_zh": 55_165_024,
    "3dspeaker_eres2net_base_zh": 9_887_808,
    "3dspeaker_eres2net_voxceleb": 6_610_688,
    "3dspeaker_eres2net_base_3dspeaker": 9_887_808,
    "3dspeaker_eres2net_large_3dspeaker": 29_016_704,
    "3dspeaker_eres2netv2_zh": 17_859_632,
    "3dspeaker_eres2netv2_w24s4ep4_zh": 53_513_632,
    "3dspeaker_ecapa_voxceleb": 20_767_552,
    "3dspeaker_ecapa_cnceleb": 20_767_552,
    "3dspeaker_ecapa_3dspeaker": 20_767_552,
    "wespeaker_voxceleb_resnet34": 6_634_336,
    "wespeaker_voxceleb_resnet34_LM": 6_634_336,
    "wespeaker_voxceleb_resnet152_LM": 19_814_880,
    "wespeaker_voxceleb_resnet221_LM": 23_792_224,
    "wespeaker_voxceleb_resnet293_LM": 28_626_016,
    "wespeaker_voxceleb_ecapa512_LM": 6_190_720,
    "wespeaker_voxceleb_ecapa1024_LM": 14_657_088,
    "wespeaker_voxceleb_campplus": 7_176_224,
    "wespeaker_voxceleb_campplus_LM": 7_176_224,
    "wespeaker_cnceleb_resnet34": 6_634_336,
    "wespeaker_cnceleb_resnet34_LM": 6_634_336,
    "speechbrain_ecapa_voxceleb": 20_767_552,
    "mvector_campplus": 6_848_544,
    "mvector_ecapa_tdnn": 6_194_048,
    "mvector_eres2net": 6_610_688,
    "mvector_eres2netv2": 5_458_202,
    "mvector_res2net": 5_611_840,
    "mvector_resnet_se": 9_123_896,
    "mvector_tdnn": 2_770_880,
    "resemblyzer_ge2e": 1_423_616,
}


def test_every_preset_is_counted_and_every_family_has_one():
    assert list(PRESETS) == list(PARAMETERS)
    assert {preset.family for preset in PRESETS.values()} == set(FAMILIES)


@pytest.mark.parametrize("name", PRESETS)
def test_the_network_has_the_published_size_and_the_features_fit(name):
    preset = PRESETS[name]
    translation = describe(preset.family, preset.architecture, preset.arguments)
    with torch.device("meta"):
        model = BACKBONES.build(translation.backbone, translation.arguments)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]

    recipe = family_recipe(preset.family, translation.arguments["input_size"])
    arguments = {key: value for key, value in recipe.preprocess.items() if key != "feature_method"}
    featurizer = AudioFeaturizer(recipe.preprocess["feature_method"], **arguments)
    assert featurizer.feature_size == translation.arguments["input_size"]
    assert featurizer.sample_rate_hz == recipe.sections()["dataset_conf"]["dataset"]["sample_rate"] == 16000


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_where_it_comes_from_and_under_which_licence(name):
    preset = PRESETS[name]
    assert preset.page.startswith("https://")
    assert preset.licence
    assert preset.trained_on
    assert "/" not in preset.file


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown preset 'resemblyser_ge2e'; there are: .*mean 'resemblyzer_ge2e'"):
        find_preset("resemblyser_ge2e")


def test_resemblyzer_has_features_of_40_bins_only():
    with pytest.raises(ConfigError, match="have 40 bins; mel_n_channels cannot be 80"):
        family_recipe("resemblyzer", 80)
