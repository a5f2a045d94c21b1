"""Backbones against the outputs of the published implementations."""

import pytest
import torch
from golden_models import NAMES, GoldenModel

from mvector.registry import BACKBONES

OUR_NAMES = {"ECAPA_TDNN": "EcapaTdnn"}
OUR_ARGUMENTS = {"lin_neurons": "embd_dim", "embedding_size": "embd_dim", "feat_dim": "input_size"}


def build(golden: GoldenModel) -> torch.nn.Module:
    architecture = golden.info["architecture"]
    arguments = {OUR_ARGUMENTS.get(key, key): value for key, value in golden.info["arguments"].items()}
    return BACKBONES.build(OUR_NAMES.get(architecture, architecture), arguments).eval()


@pytest.mark.parametrize("name", NAMES)
def test_keys_parameters_and_embeddings_are_the_published_ones(name):
    golden = GoldenModel(name)
    model = build(golden)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == golden.shapes
    assert sum(p.numel() for p in model.parameters()) == golden.info["parameters"]
    model.load_state_dict(golden.weights())
    with torch.inference_mode():
        embedding = model(golden.features)
    assert embedding.shape == golden.embedding.shape
    assert (embedding - golden.embedding).abs().max() <= 1e-4 * golden.embedding.abs().max()


def test_all_recorded_families_are_there():
    assert len(NAMES) >= 8
