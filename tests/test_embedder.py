"""An embedding belongs to its utterance: not to its batch, its place in a list, or the batch size."""

import numpy as np
import pytest
import torch

from mvector.config import load_config
from mvector.embedder import SpeakerEmbedder, of_equal_length
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


def test_batches_for_an_accelerator_are_of_equal_length():
    sounds = waveforms(80, 16, 80, 24, 80, 16, 80)
    batches = list(of_equal_length(sounds, 3))
    assert sorted(index for batch in batches for index in batch) == list(range(7))
    assert all(len({len(sounds[index]) for index in batch}) == 1 for batch in batches)
    assert sorted(len(batch) for batch in batches) == [1, 1, 2, 3]
    assert list(of_equal_length([], 3)) == []


@pytest.mark.filterwarnings("error")
def test_any_array_is_heard_and_left_as_it_is():
    embedder = make_embedder()
    (sound,) = waveforms(8000)
    expected = embedder.embed([sound])
    frozen = sound.copy()
    frozen.setflags(write=False)
    for same in (frozen, sound[::-1].copy()[::-1], np.repeat(sound, 2)[::2], sound.astype(np.float64)):
        before = same.copy()
        assert_same_embedding(embedder.embed([same]), expected)
        assert np.array_equal(same, before)


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


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def make_pair(backbone: str = "EcapaTdnn", precision: str = "bfloat16") -> tuple[SpeakerEmbedder, SpeakerEmbedder]:
    """The same weights in float32 and in another precision."""
    exact = make_embedder(backbone)
    reduced = SpeakerEmbedder(exact.featurizer, exact.backbone, precision).eval()
    return exact, reduced


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_bfloat16_gives_nearly_the_embedding(backbone):
    exact, reduced = make_pair(backbone)
    for sound in waveforms(16000, 24321):
        first, second = exact.embed([sound])[0], reduced.embed([sound])[0]
        assert second.dtype == np.float32
        assert cosine(first, second) >= 0.9999
        assert not np.array_equal(first, second)  # it is computed in another precision


def test_bfloat16_leaves_the_weights_and_the_forward_pass_alone():
    exact, reduced = make_pair()
    sound = waveforms(16000)[0]
    reduced.embed([sound])
    assert reduced.state_dict().keys() == exact.state_dict().keys()
    assert all(p.dtype is torch.float32 for p in reduced.parameters())
    with torch.inference_mode():  # what an export traces
        assert np.array_equal(reduced(torch.from_numpy(sound)[None]).numpy()[0], exact.embed([sound])[0])


def test_bfloat16_follows_weights_that_change():
    """A trainer evaluates after each epoch; the weights of the one before must not come back."""
    exact, reduced = make_pair()
    sound = waveforms(16000)[0]
    before = reduced.embed([sound])[0]
    with torch.no_grad():
        for parameter in reduced.backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert cosine(before, reduced.embed([sound])[0]) < 0.99
    assert cosine(exact.embed([sound])[0], reduced.embed([sound])[0]) >= 0.9999
    other = make_embedder()
    reduced.load_state_dict(other.state_dict())
    assert cosine(other.embed([sound])[0], reduced.embed([sound])[0]) >= 0.9999
    for buffer in reduced.backbone.buffers():  # batch statistics
        if buffer.is_floating_point():
            buffer.mul_(1.5)
    assert cosine(exact.embed([sound])[0], reduced.embed([sound])[0]) >= 0.9999


def test_the_precision_comes_from_the_configuration_and_is_stored(tmp_path):
    from mvector.model_directory import load_model, save_model

    exact = make_embedder()
    config = load_config(
        {
            "model_conf": {"model": "EcapaTdnn", "model_args": BACKBONES["EcapaTdnn"], "precision": "bf16"},
            "preprocess_conf": {"method_args": {"num_mel_bins": 40}, "waveform_scale": 32768.0},
        }
    )
    assert config.model_conf.precision == "bfloat16"
    save_model(tmp_path, exact, config, {}, [])
    stored = load_model(tmp_path)
    sound = waveforms(16000)[0]
    assert stored.config.model_conf.precision == "bfloat16"
    found = stored.embedder.embed([sound])[0]
    assert np.array_equal(found, make_pair()[1].embed([sound])[0])
    override = load_model(tmp_path, overrides=["model_conf.precision=float32"])
    assert np.array_equal(override.embedder.embed([sound])[0], exact.embed([sound])[0])


def test_a_threshold_of_another_precision_is_told(tiny_model_dir, caplog):
    from mvector.model_directory import load_model

    load_model(tiny_model_dir)
    assert not caplog.records
    load_model(tiny_model_dir, overrides=["model_conf.precision=bf16"])
    assert "found in float32" in caplog.text
    assert "now computed in bfloat16" in caplog.text
