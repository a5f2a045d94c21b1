"""Every registered backbone as an ONNX and a TorchScript file, at any length and batch size."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from mvector.errors import ModelError
from mvector.export.graphs import EMBEDDING, FEATURES, least_length, network_graph
from mvector.export.onnx_files import OPSET, network_model
from mvector.export.torchscript import script
from mvector.models.deep_speaker_gru import GRULayers
from mvector.models.redimnet import SIZES
from mvector.models.simam_resnet import DEPTHS
from mvector.models.thin_resnet import SIZES as THIN_SIZES
from mvector.registry import BACKBONES
from tests.export.conftest import CHANNELS

BINS = 80
pytestmark = pytest.mark.slow
# torch's graph of an LSTM has one step after the other: it can be exported for windows of a fixed length only.
IN_WINDOWS = {"GE2E": {"window_frames": 8, "window_shift": 5}}
# The time of an export goes with the number of operations: one block of each kind is enough here.
SHALLOW = {
    "EcapaTdnn": CHANNELS,
    "ERes2Net": {"num_blocks": (1, 1, 1, 1), "scale": 2},
    "ERes2NetV2": {"num_blocks": (1, 1, 1, 1), "scale": 2},
    "Res2Net": {"layers": (1, 1, 1, 1)},
    "Res2Net34": {"num_blocks": (1, 1, 1, 1)},
    "ResNet": {"num_blocks": (1, 1, 1, 1)},
}


@pytest.fixture(autouse=True)
def _fewer_layers(monkeypatch):
    """Of the families whose numbers of layers are no arguments."""
    monkeypatch.setattr("mvector.models.campplus.DENSE_BLOCKS", ((2, 3, 1), (3, 3, 2), (2, 3, 2)))
    size = SIZES["B0"]
    fewer = replace(size, stages=[stage._replace(blocks=1) for stage in size.stages])
    monkeypatch.setitem(SIZES, "B0", fewer)
    monkeypatch.setitem(DEPTHS, 34, (1, 1, 1, 1))
    stem_stride, stages = THIN_SIZES["small"]
    monkeypatch.setitem(THIN_SIZES, "small", (stem_stride, [(1, *rest) for _, *rest in stages]))
    monkeypatch.setattr("mvector.models.deep_speaker_gru.GRULayers", lambda *sizes, layers: GRULayers(*sizes, layers=2))


def small_members() -> dict[str, dict]:
    """The small members of the families that the tests of all backbones use."""
    path = Path(__file__).parents[1] / "models" / "test_all_backbones.py"
    spec = importlib.util.spec_from_file_location("all_backbones", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SMALL


def small(name: str) -> torch.nn.Module:
    """A small member in evaluation mode, with batch-norm statistics other than the initial ones."""
    torch.manual_seed(0)
    arguments = {**small_members().get(name, {}), **IN_WINDOWS.get(name, {}), **SHALLOW.get(name, {}), "embd_dim": 12}
    model = BACKBONES.build(name, arguments, input_size=BINS).train()
    with torch.no_grad():
        model(torch.randn(4, 60, BINS))
    return model.eval()


def test_an_lstm_over_the_whole_utterance_is_refused():
    backbone = BACKBONES.build("GE2E", {"hidden_size": 16, "layers": 1}, input_size=BINS)
    with pytest.raises(ModelError, match="the backbone GE2E cannot be exported: it fixes the length of its input"):
        network_graph(backbone, BINS)


@pytest.mark.parametrize("name", BACKBONES.names())
def test_files_equal_torch_at_every_length_and_batch_size(name, monkeypatch):
    backbone = small(name)
    graph = network_graph(backbone, BINS)
    monkeypatch.setattr("mvector.export.onnx_files.network_graph", lambda *_: graph)  # which is made alike for both
    file, least = network_model(backbone, BINS)
    assert least <= 10
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [(i.name, len(i.shape), i.shape[2]) for i in session.get_inputs()] == [(FEATURES, 3, BINS)]
    assert [(o.name, o.shape[1]) for o in session.get_outputs()] == [(EMBEDDING, 12)]
    assert [(opset.domain, opset.version) for opset in file.opset_import] == [("", OPSET)]
    scripted = script(graph)
    lengths = {least, least + 1, 12, 101, 200, 398}  # where strides leave a remainder, and where not
    if name == "CAMPPlus":  # around its segments, 100 frames after a stride of 2
        lengths |= {99, 100, 199, 201, 202, 401, 777}
    for frames in sorted(lengths):
        for batch in (1, 3):
            features = torch.randn(batch, frames, BINS)
            with torch.inference_mode():
                expected = backbone(features).numpy()
                found = {"ONNX": session.run(None, {FEATURES: features.numpy()})[0]}
                if frames >= least_length(graph):
                    found["TorchScript"] = scripted(features).numpy()
            for kind, embeddings in found.items():
                assert embeddings.shape == expected.shape
                assert np.abs(embeddings - expected).max() <= 1e-4 * np.abs(expected).max(), (kind, batch, frames)
