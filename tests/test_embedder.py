"""An embedding belongs to its utterance: not to its batch, its place in a list, or the batch size."""

import numpy as np
import pytest
import torch

from mvector.config import load_config
from mvector.embedder import SpeakerEmbedder
from mvector.errors import TooShortError

BACKBONES = {
    "EcapaTdnn": {"embd_dim": 24, "channels": [16, 16, 16, 16, 48]},
    "CAMPPlus": {"embd_dim": 24, "growth_rate": 8, "init_channels": 16},
}


def make_embedder(backbone: str = "EcapaTdnn", **preprocess) -> SpeakerEmbedder:
    features = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}, "waveform_scale": 32768.0}
    torch.manual_seed(7)
    config = load_config(
        {
            "preprocess_conf": {**features, **preprocess},
            "model_conf": {"model": backbone, "model_args": BACKBONES[backbone]},
        }
    )
    return SpeakerEmbedder.from_config(config).eval()


def waveforms(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def assert_same_embedding(actual: np.ndarray, expected: np.ndarray) -> None:
    assert np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_an_embedding_does_not_depend_on_its_company(backbone):
    embedder = make_embedder(backbone)
    sounds = waveforms(8000, 16000, 8000, 24321, 4000, 16000)
    alone = [embedder.embed([sound])[0] for sound in sounds]
    order = [3, 5, 0, 4, 2, 1]
    together = embedder.embed([sounds[i] for i in order], batch_size=4)
    assert together.shape == (6, 24)
    assert together.dtype == np.float32
    for row, index in enumerate(order):
        assert_same_embedding(together[row], alone[index])


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_rows_of_a_true_batch_are_the_single_utterances(backbone):
    """What an accelerator computes: several utterances of one length in one forward pass."""
    embedder = make_embedder(backbone)
    sounds = waveforms(12000, 12000, 12000)
    with torch.inference_mode():
        batch = embedder(torch.from_numpy(np.stack(sounds))).numpy()
    for row, sound in zip(batch, sounds, strict=True):
        assert_same_embedding(row, embedder.embed([sound])[0])


def test_no_waveforms_give_no_embeddings():
    assert make_embedder().embed([]).shape == (0, 24)


@pytest.mark.parametrize("method", ["Fbank", "Spectrogram", "MelSpectrogram", "MFCC"])
def test_min_samples_is_the_shortest_waveform_that_works(method):
    embedder = make_embedder(feature_method=method, method_args={})
    shortest = embedder.min_samples
    assert np.isfinite(embedder.embed(waveforms(shortest))).all()
    with pytest.raises(TooShortError, match="at least"):
        embedder.embed(waveforms(shortest - 1))


def test_embedding_in_training_mode_is_refused():
    with pytest.raises(RuntimeError, match="eval"):
        make_embedder().train().embed(waveforms(8000))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_cpu_and_gpu_agree(backbone):
    embedder = make_embedder(backbone)
    sounds = waveforms(8000, 16000, 8000, 24321)
    on_cpu = embedder.embed(sounds)
    on_gpu = embedder.to("cuda").embed(sounds)
    for gpu, cpu in zip(on_gpu, on_cpu, strict=True):
        assert np.linalg.norm(gpu - cpu) <= 1e-3 * np.linalg.norm(cpu)
