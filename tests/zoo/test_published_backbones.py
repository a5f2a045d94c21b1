"""Every recorded published network, loaded through the zoo, gives the recorded embedding."""

import pytest
import torch

from mvector import zoo
from tests.golden_models import NAMES, GoldenModel


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_embedding_are_the_published_ones(name):
    golden = GoldenModel(name)
    info = golden.info
    model = zoo.from_published(golden.weights(), info["family"], info["architecture"], info["arguments"])
    assert sum(p.numel() for p in model.parameters()) == info["parameters"]
    with torch.inference_mode():
        embedding = model(golden.features)
    assert embedding.dtype == torch.float32
    assert embedding.shape == golden.embedding.shape
    assert (embedding - golden.embedding).abs().max() <= 1e-4 * golden.embedding.abs().max()


def test_all_recorded_models_are_there():
    assert len(NAMES) == 22
