"""A tiny model, and its files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mvector.config import load_config
from mvector.embedder import SpeakerEmbedder
from mvector.export.onnx_files import export_onnx
from mvector.export.torchscript import export_torchscript
from mvector.model_directory import load_model, save_model

CHANNELS = {  # one block, since the time of an export goes with the number of operations
    "embd_dim": 24,
    "channels": [16, 16, 48],
    "kernel_sizes": [5, 3, 1],
    "dilations": [1, 2, 1],
    "res2net_scale": 4,
    "attention_channels": 8,
    "se_channels": 8,
}
SHERPA_FBANK = {"num_mel_bins": 80, "snip_edges": False, "high_freq": -400.0}


def write_model(folder: Path, **sections: dict) -> Path:
    """A model directory with random weights and the features of sherpa-onnx; `sections` replace those."""
    config = load_config(
        {
            "preprocess_conf": {"feature_method": "Fbank", "method_args": SHERPA_FBANK, "waveform_scale": 32768.0},
            "model_conf": {"model": "EcapaTdnn", "model_args": CHANNELS},
            **sections,
        }
    )
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        embedder = SpeakerEmbedder.from_config(config).train()
        with torch.no_grad():
            embedder.backbone(4.0 * torch.randn(8, 60, embedder.featurizer.feature_size))
    metrics = {"eer": 0.1, "threshold": 0.25, "development": {"list": "lists/开发.txt"}}
    save_model(folder, embedder.eval(), config, metrics, ["anna"])
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> SimpleNamespace:
    """The model directory, its loaded model, and its exported files; `notes` are what exporting said."""
    folder = write_model(tmp_path_factory.mktemp("export") / "model")
    out = folder.parent / "文件"
    model = load_model(folder)
    return SimpleNamespace(
        directory=folder,
        model=model,
        notes=export_onnx(model, out / "model.onnx"),
        network=out / "model.onnx",
        features=out / "model.features.onnx",
        whole_notes=export_onnx(model, out / "whole.onnx", with_features=True),
        whole=out / "whole.onnx",
        scripted=(export_torchscript(model, out / "network.pt"), out / "network.pt")[1],
        scripted_whole=(export_torchscript(model, out / "whole.pt", with_features=True), out / "whole.pt")[1],
    )
