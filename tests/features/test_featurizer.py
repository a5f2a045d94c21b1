"""AudioFeaturizer: a row of a batch is what that utterance alone gives; scale, mean, errors, precision."""

import copy
import io

import numpy as np
import pytest
import torch

from mvector.errors import AudioError, ConfigError, TooShortError
from mvector.features import AudioFeaturizer
from mvector.features.base import extend
from mvector.registry import FEATURES

MELKWARGS = {"n_fft": 512, "hop_length": 160, "n_mels": 40}
RECIPES = {
    "fbank": ("Fbank", {"num_mel_bins": 80}),
    "fbank, frames over the ends": ("Fbank", {"num_mel_bins": 40, "snip_edges": False, "use_energy": True}),
    "fbank, its own mean": ("Fbank", {"num_mel_bins": 40, "subtract_mean": True}),
    "fbank, long shift": ("Fbank", {"frame_shift": 40.0, "snip_edges": False}),
    "mel": ("MelSpectrogram", {"n_mels": 64, "log": True}),
    "mel, zeros around": ("MelSpectrogram", {**MELKWARGS, "pad": 100}),
    "mel, zeros at the ends": ("MelSpectrogram", {**MELKWARGS, "pad_mode": "constant", "win_length": 400}),
    "mel, repeated ends": ("MelSpectrogram", {**MELKWARGS, "pad_mode": "replicate"}),
    "spectrogram": ("Spectrogram", {"n_fft": 512, "win_length": 400, "hop_length": 160}),
    "spectrogram, odd": ("Spectrogram", {"n_fft": 401, "hop_length": 160, "pad": 7}),
    "spectrogram, not centred": ("Spectrogram", {"center": False, "log": True}),
    "mfcc": ("MFCC", {"n_mfcc": 20, "melkwargs": MELKWARGS}),
    "mfcc, log": ("MFCC", {"n_mfcc": 20, "log_mels": True, "melkwargs": MELKWARGS}),
    "speechbrain": ("SpeechBrainFbank", {"n_mels": 80}),
    "resemblyzer": ("ResemblyzerMel", {}),
}
recipes = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
ways = pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])


def voices(rows: int = 4, samples: int = 12000) -> torch.Tensor:
    """Noise whose level differs by 20 dB from row to row, so that rows cannot hide in each other."""
    noise = torch.randn(rows, samples, generator=torch.Generator().manual_seed(7))
    return 0.3 * noise * 10.0 ** -torch.arange(rows, dtype=torch.float32)[:, None]


def featurizer(method: str, arguments: dict, together: bool = False, **options) -> AudioFeaturizer:
    module = AudioFeaturizer(method, arguments, **options)
    if together:  # the way a GPU goes
        module.feature._one_by_one = module.feature._together
    return module


def assert_rows_stand_alone(module, waveforms, lengths, tolerance=1e-5):
    features, frames = module(waveforms, lengths)
    assert features.dtype == torch.float32
    assert frames.dtype == torch.int64
    assert features.shape == (len(waveforms), int(frames.max()), module.feature_size)
    for row, length in enumerate(lengths.tolist()):
        alone, alone_frames = module(waveforms[row : row + 1, :length])
        count = int(frames[row])
        assert alone_frames.tolist() == [count]
        assert alone.shape[1] == count
        scale = alone.abs().max()
        assert (features[row, :count].cpu() - alone[0].cpu()).abs().max() <= tolerance * scale
        assert not features[row, count:].any()


@ways
@recipes
@pytest.mark.parametrize("mean_norm", [True, False])
def test_row_equals_utterance_alone(recipe, together, mean_norm):
    module = featurizer(*recipe, together, mean_norm=mean_norm, waveform_scale=32768.0)
    assert_rows_stand_alone(module, voices(), torch.tensor([12000, 4321, 8000, 1601]))


@ways
@recipes
def test_what_stands_in_the_padding_has_no_influence(recipe, together):
    module = featurizer(*recipe, together)
    lengths = torch.tensor([12000, 4321, 8000, 1601])
    waveforms = voices()
    expected, _ = module(waveforms, lengths)
    for filler in (0.0, 1e4, float("nan")):
        filled = waveforms.clone()
        for row, length in enumerate(lengths.tolist()):
            filled[row, length:] = filler
        features, _ = module(filled, lengths)
        assert torch.equal(features, expected)


@recipes
def test_the_two_ways_agree_and_lengths_may_be_left_out(recipe):
    waveforms = voices()
    expected, frames = featurizer(*recipe)(waveforms)
    for module in (featurizer(*recipe), featurizer(*recipe, together=True)):
        for lengths in (None, torch.full((4,), 12000), torch.full((4,), 12000, dtype=torch.int32)):
            features, lengths_out = module(waveforms, lengths)
            assert lengths_out.tolist() == frames.tolist() == [features.shape[1]] * 4
            assert (features - expected).abs().max() <= 1e-5 * expected.abs().max()


@ways
@recipes
def test_shortest_utterance(recipe, together):
    module = featurizer(*recipe, together)
    shortest = module.min_samples
    features, frames = module(voices(1, shortest))
    assert frames[0] >= 1
    assert features.isfinite().all()
    with pytest.raises(TooShortError, match=rf"{shortest - 1} samples .* needs at least {shortest} samples"):
        module(voices(1, shortest - 1))
    with pytest.raises(TooShortError):
        module(voices(3), torch.tensor([12000, 5000, shortest - 1]))
    assert issubclass(TooShortError, AudioError)
    assert_rows_stand_alone(
        module, voices(3, 3 * shortest + 9), torch.tensor([shortest, shortest + 3, 3 * shortest + 9])
    )


def test_long_utterances_are_cut_into_blocks_without_a_seam(monkeypatch):
    for method, arguments in RECIPES.values():
        module = AudioFeaturizer(method, arguments)
        expected, _ = module(voices())
        monkeypatch.setattr("mvector.features.base.CPU_BLOCK_SAMPLES", 7 * module.feature.window_samples)
        features, _ = module(voices())
        assert (features - expected).abs().max() <= 1e-5 * expected.abs().max()
        monkeypatch.undo()


@ways
def test_mean_is_taken_over_the_utterances_own_frames(together):
    module = featurizer("Fbank", {"num_mel_bins": 40}, together, mean_norm=True)
    raw = featurizer("Fbank", {"num_mel_bins": 40}, mean_norm=False)
    lengths = torch.tensor([12000, 5000])
    features, frames = module(voices(2), lengths)
    unnormalised, _ = raw(voices(2), lengths)
    for row, count in enumerate(frames.tolist()):
        own = unnormalised[row, :count].double()
        assert (features[row, :count] - (own - own.mean(0))).abs().max() < 1e-4
        assert features[row, :count].mean(0).abs().max() < 1e-4


def test_scale_is_applied_first():
    waveforms = voices(1)
    scaled = AudioFeaturizer("Fbank", {"num_mel_bins": 80}, waveform_scale=32768.0, mean_norm=False)(waveforms)[0]
    by_hand = AudioFeaturizer("Fbank", {"num_mel_bins": 80}, mean_norm=False)(waveforms * 32768.0)[0]
    assert torch.equal(scaled, by_hand)
    assert AudioFeaturizer("Spectrogram", waveform_scale=10.0, mean_norm=False)(waveforms)[0].max() == pytest.approx(
        100 * AudioFeaturizer("Spectrogram", mean_norm=False)(waveforms)[0].max().item(), rel=1e-5
    )


def test_sizes():
    module = AudioFeaturizer("Fbank", {"num_mel_bins": 80, "use_energy": True})
    assert (module.feature_size, module.sample_rate_hz, module.min_samples) == (81, 16000, 400)
    assert AudioFeaturizer("Fbank", {"sample_frequency": 8000}).sample_rate_hz == 8000
    assert AudioFeaturizer("MelSpectrogram", {"sample_rate": 8000, "n_mels": 20}).sample_rate_hz == 8000
    assert AudioFeaturizer("Spectrogram", {"n_fft": 512}).feature_size == 257
    assert AudioFeaturizer("MFCC").feature_size == 40


def test_registered():
    assert {"Fbank", "MelSpectrogram", "Spectrogram", "MFCC"} <= set(FEATURES.names())


class HalvedWaveform(torch.nn.Module):
    """A user's own feature: anything with this forward and these three attributes."""

    feature_size, sample_rate_hz, min_samples = 2, 16000, 2

    def forward(self, waveforms, lengths=None):
        frames = waveforms.unfold(1, 2, 2)
        return frames, torch.full((len(waveforms),), frames.shape[1])


def test_dotted_path_of_a_users_own_feature(monkeypatch):
    monkeypatch.setattr("mvector.features.HalvedWaveform", HalvedWaveform, raising=False)
    module = AudioFeaturizer("mvector.features.HalvedWaveform", waveform_scale=3.0, mean_norm=False)
    assert module(torch.ones(1, 10))[0].tolist() == [[[3.0, 3.0]] * 5]
    assert module.feature_size == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature_method": "fbank"}, "Did you mean 'Fbank'"),
        ({"method_args": {"num_mel_bin": 80}}, "no argument 'num_mel_bin'.*Did you mean 'num_mel_bins'"),
        ({"feature_method": "MFCC", "method_args": {"n_mels": 80}}, "no argument 'n_mels'"),
        ({"feature_method": "MFCC", "method_args": {"melkwargs": {"n_fftt": 80}}}, "Did you mean 'n_fft'"),
        ({"backend": "tensorflow"}, "unknown feature backend 'tensorflow'; there are: native, torchaudio"),
        ({"waveform_scale": 0}, "waveform_scale must be a positive number, found 0"),
        ({"waveform_scale": "32768"}, "waveform_scale must be a positive number, found '32768'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        AudioFeaturizer(**arguments)


def test_bad_tensors():
    module = AudioFeaturizer("Fbank")
    with pytest.raises(ValueError, match=r"floating point \[B, T\], found torch.float32 \[800\]"):
        module(torch.zeros(800))
    with pytest.raises(ValueError, match=r"found torch\.int16"):
        module(torch.zeros(1, 800, dtype=torch.int16))
    with pytest.raises(ValueError, match=r"shape \[2\]"):
        module(torch.zeros(2, 800), torch.tensor([800]))
    with pytest.raises(ValueError, match="whole numbers"):
        module(torch.zeros(2, 800), torch.tensor([1.0, 0.5]))
    with pytest.raises(ValueError, match="a length of 801 samples in waveforms of 800"):
        module(torch.zeros(2, 800), torch.tensor([800, 801]))


def test_empty_batch():
    features, frames = AudioFeaturizer("Fbank", {"num_mel_bins": 80})(torch.zeros(0, 16000))
    assert features.shape[0] == frames.shape[0] == 0
    assert features.shape[2] == 80


@pytest.mark.parametrize("recipe", list(RECIPES.values())[::4])
def test_always_float32(recipe):
    waveforms = voices(2)
    module = AudioFeaturizer(*recipe)
    expected, _ = module(waveforms)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, _ = module(waveforms)
    assert features.dtype == torch.float32
    assert torch.equal(features, expected)
    # A model turned to half precision keeps its features: windows and filters stay what they are.
    assert torch.equal(copy.deepcopy(module).half()(waveforms)[0], expected)
    assert module(waveforms.bfloat16())[0].dtype == torch.float32


def test_nothing_in_the_state_dict_and_it_can_be_pickled():
    for method in ("Fbank", "MelSpectrogram", "Spectrogram", "MFCC"):
        module = AudioFeaturizer(method)
        assert not module.state_dict()
        assert not list(module.parameters())
        stored = io.BytesIO()
        torch.save(module, stored)
        stored.seek(0)
        again = torch.load(stored, weights_only=False)
        assert torch.equal(again(voices(1))[0], module(voices(1))[0])


def test_no_float64_on_the_device():
    for method, arguments in RECIPES.values():
        assert {buffer.dtype for buffer in AudioFeaturizer(method, arguments).buffers()} <= {torch.float32}


@ways
def test_gradient_reaches_the_waveform(together):
    waveforms = voices(2).requires_grad_()
    lengths = torch.tensor([12000, 6000])
    features, _ = featurizer("Fbank", {"num_mel_bins": 40}, together)(waveforms, lengths)
    features.square().sum().backward()
    assert waveforms.grad.isfinite().all()
    assert waveforms.grad[1, :5900].any()
    assert not waveforms.grad[1, 6000:].any()


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "replicate", "constant"])
def test_extension_of_rows_of_different_lengths(mode):
    waveforms = torch.arange(1.0, 21.0).reshape(2, 10)
    lengths = torch.tensor([10, 6])
    names = {"replicate": "edge"}
    for zeros in (0, 2):
        extended = extend(waveforms, lengths, 4, 4, mode, zeros=zeros)
        for row, length in enumerate(lengths.tolist()):
            padded = np.pad(waveforms[row, :length].numpy(), zeros)
            expected = np.pad(padded, 4, mode=names.get(mode, mode))
            assert extended[row, : len(expected)].tolist() == expected.tolist()
            alone = extend(waveforms[row : row + 1, :length], None, 4, 4, mode, zeros=zeros)
            assert alone[0].tolist() == expected.tolist()


def test_symmetric_extension_mirrors_as_often_as_it_takes():
    expected = [3.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0]
    assert extend(torch.tensor([[1.0, 2.0, 3.0]]), None, 3, 7, "symmetric")[0].tolist() == expected
    ragged = extend(torch.tensor([[1.0, 2.0, 3.0, 9.0]]), torch.tensor([3]), 3, 7, "symmetric")
    assert ragged[0, :13].tolist() == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@recipes
def test_gpu_agrees_with_cpu(recipe):
    lengths = torch.tensor([12000, 4321, 8000, 1601])
    module = AudioFeaturizer(*recipe, waveform_scale=32768.0)
    expected, frames = module(voices(), lengths)
    on_gpu = copy.deepcopy(module).cuda()
    for placed in (lengths, lengths.cuda()):
        features, frames_gpu = on_gpu(voices().cuda(), placed)
        assert features.device.type == frames_gpu.device.type == "cuda"
        assert frames_gpu.tolist() == frames.tolist()
        assert (features.cpu() - expected).abs().max() <= 1e-3 * expected.abs().max()
    assert_rows_stand_alone(on_gpu, voices().cuda(), lengths)
    with torch.autocast("cuda", dtype=torch.float16):
        assert torch.equal(on_gpu(voices().cuda(), lengths)[0], features)
