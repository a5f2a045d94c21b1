"""The networks without recorded outputs learn: a few steps separate synthetic speakers, also in other utterances."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from mvector.config import load_config
from mvector.features import AudioFeaturizer
from mvector.losses.classifier import SpeakerClassifier
from mvector.registry import BACKBONES

ROOT = Path(__file__).parents[2]
SPEAKERS, BINS, FRAMES = 4, 40, 24
NETWORKS = {
    "GhostVLAD": ("ThinResNet", {"clusters": 4}),
    "NetVLAD": ("ThinResNet", {"pooling_type": "NetVLAD", "clusters": 4}),
    "GMP": ("ThinResNet", {"pooling_type": "GMP"}),
    "ResCNN": ("ResCNN", {"channels": (16, 32, 32, 64)}),
    "GRU": ("DeepSpeakerGRU", {"hidden_size": 32}),
    "VGGVox": ("VGGVox", {}),
    "CNN6": ("PANNS_CNN", {"depth": 6, "channels": 16}),
    "CNN10": ("PANNS_CNN", {"depth": 10, "channels": 16}),
    "CNN14": ("PANNS_CNN", {"depth": 14, "channels": 8}),
}
RECIPES = ("thin_resnet", "rescnn", "deep_speaker_gru", "vggvox", "panns_cnn")


def utterances(patterns: torch.Tensor, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise over each speaker's own spectrum [S, D]: features [S · each, F, D] and labels."""
    labels = torch.arange(SPEAKERS).repeat_interleave(each)
    return patterns[labels].unsqueeze(1) + torch.randn(len(labels), FRAMES, BINS), labels


@pytest.mark.parametrize(
    "network", [pytest.param(n, marks=pytest.mark.slow if NETWORKS[n][0] == "ThinResNet" else ()) for n in NETWORKS]
)
def test_a_few_steps_separate_speakers(network):
    torch.manual_seed(0)
    name, arguments = NETWORKS[network]
    model = BACKBONES.build(name, {**arguments, "embd_dim": 16}, input_size=BINS)
    classifier = SpeakerClassifier(16, SPEAKERS)
    optimizer = torch.optim.Adam([*model.parameters(), *classifier.parameters()], lr=1e-3)
    patterns = 2 * torch.randn(SPEAKERS, BINS)
    losses = []
    for _ in range(25):
        features, labels = utterances(patterns, 4)
        loss = functional.cross_entropy(10 * classifier(model(features)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3]), losses

    with torch.no_grad():
        # After so few steps the running averages still hold the first ones: take them anew.
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
                module.momentum = None
        for _ in range(4):
            model(utterances(patterns, 8)[0])
        features, labels = utterances(patterns, 3)
        embeddings = functional.normalize(model.eval()(features))
        similar = (embeddings @ embeddings.T - 9 * torch.eye(len(labels))).argmax(1)
    assert (labels[similar] == labels).float().mean() > 0.9


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_fits_together(recipe):
    config = load_config(ROOT / "configs" / f"{recipe}.yml")
    preprocess, model_conf = config.preprocess_conf, config.model_conf
    featurizer = AudioFeaturizer(preprocess.feature_method, preprocess.method_args, preprocess.waveform_scale)
    size = featurizer.feature_size
    model = BACKBONES.build(model_conf.model, model_conf.model_args, input_size=size).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 100, size)).shape == (2, model.embd_dim)
