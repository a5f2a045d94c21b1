"""Self-supervised front ends: equal to transformers, independent of the batch, complete in a model directory."""

import json
import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mvector.config import load_config
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, MissingPackageError, ModelError, TooShortError
from mvector.features import AudioFeaturizer
from mvector.features.self_supervised import SelfSupervised, StackedFbank
from mvector.model_directory import load_model, save_model
from mvector.predict import MVectorPredictor
from tests.tiny_front_ends import KINDS, extractor, reference, save_front_end

pytest.importorskip("transformers")
WITH_MASKS = ("wavlm-large", "wav2vec2-large", "w2v-bert")  # whose published batches are right when given masks


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("front ends")
    return {kind: save_front_end(root / kind, kind) for kind in KINDS}


@pytest.fixture
def no_hub(monkeypatch):
    """Any look at the hub fails."""
    import huggingface_hub

    def refuse(*arguments, **named):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


def hidden_layers(kind: str, waveforms: list[np.ndarray]) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """What transformers itself gives for a padded batch: layers × [B, F, D], and its mask over the input."""
    network = reference(kind)
    inputs = extractor(kind)(
        waveforms, sampling_rate=16000, padding=True, return_tensors="pt", return_attention_mask=True
    )
    last = []
    hook = network.encoder.layers[-1].register_forward_hook(lambda module, given, output: last.append(output))
    with torch.no_grad():
        hidden = list(network(**inputs, output_hidden_states=True).hidden_states)
    hook.remove()
    # Releases before 5.0 put a layer norm behind the last layer of the large models.
    hidden[-1] = last[0][0] if isinstance(last[0], tuple) else last[0]
    return hidden, inputs.get("attention_mask")


# ---------------------------------------------------------------- equal to transformers


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_weighted_sum_of_all_layers_of_transformers(kind, folders):
    waveforms = noise(3, 9001)
    hidden, _ = hidden_layers(kind, list(waveforms.numpy()))
    assert len(hidden) == 4  # the input of the first layer, and three layers
    module = SelfSupervised(folders[kind])
    features, frames = module(waveforms)
    count = features.shape[1]  # transformers keeps, masked, half a stack at the end
    expected = torch.stack(hidden).mean(0)[:, :count]
    tolerance = 1e-4 if kind.startswith("w2v-bert") else 1e-5  # two different filter banks
    assert (features - expected).abs().max() <= tolerance * expected.abs().max()
    assert frames.tolist() == [count] * 3
    assert features.dtype == torch.float32

    with torch.no_grad():
        module.layer_sum.weights.copy_(torch.tensor([0.5, -1.0, 2.0, 0.1]))
    shares = np.exp([0.5, -1.0, 2.0, 0.1]) / np.exp([0.5, -1.0, 2.0, 0.1]).sum()
    expected = sum(share * layer for share, layer in zip(shares, hidden, strict=True))[:, :count]
    assert (module(waveforms)[0] - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("kind", WITH_MASKS)
def test_lengths_give_what_transformers_gives_with_masks(kind, folders):
    lengths = [9001, 4000, 7133]
    waveforms = noise(3, 9001)
    hidden, _ = hidden_layers(kind, [row[:length].numpy() for row, length in zip(waveforms, lengths, strict=True)])
    expected = torch.stack(hidden).mean(0)
    features, frames = SelfSupervised(folders[kind])(waveforms, torch.tensor(lengths))
    for row, count in enumerate(frames.tolist()):
        difference = (features[row, :count] - expected[row, :count]).abs().max()
        assert difference <= 1e-4 * expected[row, :count].abs().max()


@pytest.mark.parametrize("samples", [560, 8000, 8160, 9001])  # 2, 48, 49 and 54 frames before stacking
def test_stacked_fbank_equals_the_feature_extractor(samples, voice):
    waveforms = np.stack([voice[:samples], voice[-samples:]])
    waveforms[1, samples // 2 :] = 0  # digital silence lies on the logarithm's floor
    theirs = extractor("w2v-bert")(list(waveforms), sampling_rate=16000, return_tensors="pt")
    ours = StackedFbank(16000, 80, 2)(torch.from_numpy(waveforms))
    frames = int(theirs["attention_mask"][0].sum())
    assert ours.shape == (2, frames, 160)
    torch.testing.assert_close(ours, theirs["input_features"][:, :frames], rtol=0, atol=1e-3)


def test_a_bin_that_is_silent_throughout_is_zero():
    features = StackedFbank(16000, 80, 2)(torch.zeros(1, 16000))
    assert torch.equal(features, torch.zeros(1, 49, 160))


@pytest.mark.parametrize("normalize", [True, False])
def test_waveforms_are_normalised_where_the_model_says_so(normalize, tmp_path):
    folder = save_front_end(tmp_path / "wavlm")
    extractor("wavlm", do_normalize=normalize).save_pretrained(folder)
    module = SelfSupervised(folder)
    loud, quiet = module(noise(1, 4000))[0], module(0.01 * noise(1, 4000) + 0.5)[0]
    assert torch.allclose(loud, quiet, atol=1e-3) is normalize


@pytest.mark.parametrize("kind", ["wavlm", "w2v-bert"])
def test_frame_counts_and_the_shortest_waveform(kind, folders):
    module = SelfSupervised(folders[kind])
    shortest = {"wavlm": 10 + 5 * 7 + 5 * 4 * 7, "w2v-bert": 400 + 160}[kind]  # the kernels' reach; two Fbank frames
    assert module.min_samples == shortest
    for samples in (shortest, shortest + 1, 999, 1234, 4321):
        features, frames = module(noise(1, samples))
        assert frames.tolist() == [features.shape[1]] == [int(module.frame_count(torch.tensor(samples)))]
        assert features.isfinite().all()
    with pytest.raises(TooShortError, match=f"{shortest - 1} samples .* at least {shortest}"):
        module(noise(1, shortest - 1))
    with pytest.raises(TooShortError):
        module(noise(2, 4000), torch.tensor([4000, shortest - 1]))
    with pytest.raises(ValueError, match="a length of 4001 samples"):
        module(noise(2, 4000), torch.tensor([4001, 4000]))


# ---------------------------------------------------------------- promise 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_what_its_utterance_alone_gives(kind, folders):
    featurizer = AudioFeaturizer(folders[kind], use_hf_model=True)
    lengths = torch.tensor([5000, 9001, 1500, 5000, 9001])
    waveforms = noise(5, 9001)
    for row, length in enumerate(lengths):
        waveforms[row, length:] = 1000.0  # nothing beyond a row's end may have any influence
    features, frames = featurizer(waveforms, lengths)
    for row, length in enumerate(lengths):
        alone = featurizer(waveforms[row : row + 1, :length])[0][0]
        assert frames[row] == len(alone)
        assert (features[row, : len(alone)] - alone).abs().max() <= 1e-5 * alone.abs().max()
        assert not features[row, len(alone) :].any()


@pytest.mark.parametrize("kind", ["wavlm", "w2v-bert"])
def test_an_embedding_does_not_depend_on_its_company(kind, folders):
    embedder = make_embedder(folders[kind]).eval()
    sounds = [noise(length, seed=length).numpy() for length in (8000, 6000, 8000, 3000, 6001)]
    alone = [embedder.embed([sound])[0] for sound in sounds]
    with torch.inference_mode():
        together = embedder(torch.from_numpy(np.stack([sounds[0], sounds[2]]))).numpy()
    for actual, expected in zip((*together, *embedder.embed(sounds)), (alone[0], alone[2], *alone), strict=True):
        assert np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)
    with pytest.raises(TooShortError):
        embedder.embed([sounds[0][: embedder.min_samples - 1]])
    assert np.isfinite(embedder.embed([sounds[0][: embedder.min_samples]])).all()


# ---------------------------------------------------------------- frozen and trained


def test_a_frozen_network_gets_no_gradients_and_stays_in_evaluation_mode(folders):
    module = SelfSupervised(folders["wavlm"], freeze=True).train()
    assert module.training
    assert not any(part.training for part in module.model.modules())
    first, second = module(noise(2, 4000))[0], module(noise(2, 4000))[0]
    assert torch.equal(first, second)  # no dropout
    first.square().mean().backward()
    assert module.layer_sum.weights.grad.abs().min() > 0
    assert all(parameter.grad is None for parameter in module.model.parameters())
    assert [parameter.shape for parameter in module.trainable.parameters()] == [(4,)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_trained_has_no_idle_parameter(kind, folders):
    module = SelfSupervised(folders[kind], freeze=False)
    with torch.inference_mode():
        module.eval()(noise(2, 4000))  # an evaluation between the epochs must not get in the way
    first, second = module.train()(noise(2, 4000))[0], module(noise(2, 4000))[0]
    assert not torch.equal(first, second)  # dropout
    first.square().mean().backward()
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []
    assert module.trainable is module


@pytest.mark.parametrize("kind", ["wavlm", "w2v-bert"])
def test_layerdrop_masks_and_adapters_are_off(kind, tmp_path):
    """Trained without dropout, a network gives what it gives in evaluation mode."""
    settings = {"layerdrop": 0.9, "mask_time_prob": 0.9, "mask_feature_prob": 0.9, "add_adapter": True}
    settings |= {f"{place}_dropout": 0.0 for place in ("hidden", "attention", "activation", "feat_proj")}
    settings |= {"conformer_conv_dropout": 0.0} if kind == "w2v-bert" else {}
    module = SelfSupervised(save_front_end(tmp_path / "w", kind, **settings), freeze=False).train()
    plain = reference(kind, **settings)
    for samples in (module.min_samples, 4000):  # one frame is shorter than a mask
        inputs = module.input(noise(1, samples))
        expected = torch.stack(plain(inputs, output_hidden_states=True).hidden_states).mean(0)
        torch.testing.assert_close(module(noise(1, samples))[0], expected)
    assert not any("adapter" in key or "masked" in key for key in module.state_dict())


@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2-large", "w2v-bert"])
def test_bfloat16_autocast_comes_near_and_gives_float32(kind, folders):
    module = SelfSupervised(folders[kind], freeze=False).eval()
    expected = module(noise(2, 4000))[0]
    with torch.autocast("cpu", torch.bfloat16):
        features = module(noise(2, 4000))[0]
        features.square().mean().backward()
    assert features.dtype == torch.float32
    assert (features - expected).abs().max() <= 0.05 * expected.abs().max()


# ---------------------------------------------------------------- sources


def test_checkpoints_of_other_tasks_and_half_precision(tmp_path, folders):
    expected = SelfSupervised(folders["wav2vec2"])(noise(1, 4000))[0]
    task = reference("wav2vec2", head="ForCTC", vocab_size=5)
    task.wav2vec2.load_state_dict(reference("wav2vec2").state_dict())
    task.half().save_pretrained(tmp_path)
    extractor("wav2vec2").save_pretrained(tmp_path)
    module = SelfSupervised(tmp_path.as_posix())
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}
    features = module(noise(1, 4000))[0]
    assert (features - expected).abs().max() <= 1e-2 * expected.abs().max()


def test_weights_in_torchs_own_format_are_read_without_executing_anything(tmp_path, folders):
    expected = SelfSupervised(folders["wavlm"])(noise(1, 4000))[0]
    folder = tmp_path / "wavlm"
    shutil.copytree(folders["wavlm"], folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    torch.testing.assert_close(SelfSupervised(folder.as_posix())(noise(1, 4000))[0], expected)

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"encoder": Trap()}, protocol=2))
    with pytest.raises(ModelError, match="wavlm"):
        SelfSupervised(folder.as_posix())
    assert not (tmp_path / "executed").exists()


def test_a_name_of_the_hub_is_downloaded_and_weights_that_are_no_safetensors_only_if_needed(monkeypatch, folders):
    import huggingface_hub

    asked = []

    def download(name, allow_patterns):
        asked.append((name, *allow_patterns))
        return folders["wavlm"]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    features = SelfSupervised("microsoft/wavlm-tiny")(noise(1, 4000))[0]
    assert torch.equal(features, SelfSupervised(folders["wavlm"])(noise(1, 4000))[0])
    assert asked == [("microsoft/wavlm-tiny", "*config.json", "model*.safetensors*")]


def test_a_hub_that_does_not_answer(monkeypatch):
    import huggingface_hub

    def fail(*arguments, **named):
        raise OSError("no network\nand a long story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ConfigError, match=r"'microsoft/wavlm-base' is no folder here.*\(no network\).*name its folder"):
        SelfSupervised("microsoft/wavlm-base")


def test_offline_mode_of_the_hub_is_answered_clearly(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="microsoft/wavlm-base"):
        SelfSupervised("microsoft/wavlm-base")


@pytest.mark.parametrize("source", ["/nowhere/wavlm", "./models/hf/wavlm", "a/b/c", "C:\\models\\wavlm"])
def test_a_folder_that_is_not_there_is_not_asked_of_the_hub(source, no_hub):
    with pytest.raises(ConfigError, match="there is no folder") as caught:
        SelfSupervised(source)
    assert source in str(caught.value)


def damaged(folder: Path, how: str) -> None:
    if how == "no config.json":
        (folder / "config.json").unlink()
    elif how == "no JSON":
        (folder / "config.json").write_text("{")
    elif how == "another architecture":
        (folder / "config.json").write_text('{"model_type": "whisper"}')
    elif how == "no weights":
        (folder / "model.safetensors").unlink()
    elif how == "broken weights":
        (folder / "model.safetensors").write_bytes(b"no weights")
    else:
        state = load_file(folder / "model.safetensors")
        removed = "encoder.layers.1.attention.k_proj.weight"
        if how == "a weight too few":
            del state[removed]
        else:
            state[removed] = state[removed][:3].clone()
        save_file(state, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("no config.json", ConfigError, r"no config\.json"),
        ("no JSON", ModelError, r"config\.json cannot be read as JSON"),
        ("another architecture", ConfigError, r"'whisper'; a front end can be one of: hubert, .*, wavlm"),
        ("no weights", ModelError, "cannot be read as a transformers model"),
        ("broken weights", ModelError, "cannot be read as a transformers model"),
        ("a weight too few", ModelError, r"lacks 1 weights .* 'encoder\.layers\.1\.attention\.k_proj\.weight'"),
        ("a weight of another shape", ModelError, "cannot be read as a transformers model"),
    ],
)
def test_a_damaged_folder_is_refused(how, kind, message, tmp_path, folders, no_hub):
    folder = tmp_path / "wavlm"
    shutil.copytree(folders["wavlm"], folder)
    damaged(folder, how)
    with pytest.raises(kind, match=message) as caught:
        SelfSupervised(folder.as_posix())
    assert str(folder) in str(caught.value)


def test_without_a_feature_extractor_its_defaults_are_taken_with_a_warning(tmp_path, folders, caplog):
    for kind in ("wavlm", "w2v-bert"):
        folder = tmp_path / kind
        shutil.copytree(folders[kind], folder)
        (folder / "preprocessor_config.json").unlink()
        features = SelfSupervised(folder.as_posix())(noise(1, 4000))[0]
        assert torch.equal(features, SelfSupervised(folders[kind])(noise(1, 4000))[0])
        assert f"{folder} has no preprocessor_config.json" in caplog.messages[-1]
    assert len(caplog.messages) == 2


def test_bins_that_do_not_fit_the_network(tmp_path):
    folder = save_front_end(tmp_path / "w", "w2v-bert")
    extractor("w2v-bert", feature_size=40, num_mel_bins=40).save_pretrained(folder)
    with pytest.raises(ModelError, match="40 bins × 2 frames do not make the 160 inputs"):
        SelfSupervised(folder)


def test_transformers_reports_nothing_while_a_front_end_is_read(tmp_path, capfd, caplog):
    folder = tmp_path / "w"
    reference("wav2vec2", head="ForCTC", vocab_size=5).save_pretrained(folder)
    extractor("wav2vec2").save_pretrained(folder)
    capfd.readouterr()
    caplog.set_level(logging.WARNING)
    SelfSupervised(folder.as_posix())
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


# ---------------------------------------------------------------- configuration


def make_config(source: str, **preprocess):
    return load_config(
        {
            "preprocess_conf": {"use_hf_model": True, "feature_method": source, **preprocess},
            "model_conf": {"model": "EcapaTdnn", "model_args": {"embd_dim": 8, "channels": [16, 16, 16, 16, 24]}},
        }
    )


def make_embedder(source: str, **preprocess) -> SpeakerEmbedder:
    torch.manual_seed(5)
    return SpeakerEmbedder.from_config(make_config(source, **preprocess))


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ({"method_args": {"frezee": True}}, r"method_args\.frezee: .*Did you mean 'freeze'"),
        ({"method_args": {"sample_frequency": 16000}}, r"it takes: freeze, use_gpu\."),
        ({"method_args": {"description": {}}}, r"method_args\.description"),
        ({"method_args": {"freeze": "yes"}}, r"method_args\.freeze: .*expected true or false"),
        ({"waveform_scale": 32768}, r"preprocess_conf\.waveform_scale: 32768 does not go with use_hf_model"),
        ({"backend": "torchaudio"}, r"preprocess_conf\.backend: torchaudio does not go with use_hf_model"),
    ],
)
def test_settings_that_do_not_go_with_a_front_end(preprocess, message):
    with pytest.raises(ConfigError, match=message):
        make_config("microsoft/wavlm-base", **preprocess)


def test_the_configuration_reaches_the_front_end(folders):
    assert make_embedder(folders["wavlm"], method_args={"use_gpu": True}).featurizer.feature.frozen
    assert not make_embedder(folders["wavlm"], method_args={"freeze": False}).featurizer.feature.frozen
    assert AudioFeaturizer("Fbank").trainable is None


def test_nothing_imports_transformers_unless_it_is_asked_for():
    code = (
        "import sys, mvector.trainer, mvector.predict\n"
        "from mvector.config import load_config\n"
        "from mvector.embedder import SpeakerEmbedder\n"
        "load_config({'preprocess_conf': {'use_hf_model': True, 'feature_method': 'a/b'}})\n"
        "SpeakerEmbedder.from_config(load_config({}))\n"
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- model directories


@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2-large", "w2v-bert"])
def test_a_model_directory_needs_neither_the_folder_nor_the_hub(kind, tmp_path, no_hub, voice):
    source = tmp_path / "front end"
    save_front_end(source, kind)
    config, embedder = make_config(source.as_posix()), make_embedder(source.as_posix()).eval()
    with torch.no_grad():
        embedder.featurizer.feature.layer_sum.weights.copy_(torch.tensor([0.3, -0.2, 1.0, 0.0]))
    expected = embedder.embed([voice])[0]
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, embedder, config, {"threshold": 0.5}, ["anna"])
    shutil.rmtree(source)
    description = (folder / "frontend_config.json").read_text(encoding="utf-8").replace(" ", "")
    assert tmp_path.name not in description
    assert '"layerdrop":0.0' in description

    loaded = load_model(folder)
    assert not loaded.embedder.training
    assert loaded.embedder.featurizer.feature.frozen
    np.testing.assert_array_equal(loaded.embedder.embed([voice])[0], expected)
    predictor = MVectorPredictor(
        model_path=folder, device="cpu", overwrites="dataset_conf.dataset.use_dB_normalization=false"
    )
    np.testing.assert_allclose(predictor.predict(voice), expected / np.linalg.norm(expected), atol=1e-6)
    assert predictor.contrast(voice, voice) == pytest.approx(1.0)


@pytest.fixture
def stored(tmp_path, folders) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, make_embedder(folders["wavlm"]), make_config(folders["wavlm"]), {}, [])
    return folder


def test_a_model_directory_without_its_front_end_is_refused(stored):
    (stored / "frontend.safetensors").rename(stored / "elsewhere")
    with pytest.raises(ModelError, match=r"frontend\.safetensors"):
        load_model(stored)
    (stored / "elsewhere").rename(stored / "frontend.safetensors")
    (stored / "frontend_config.json").unlink()
    with pytest.raises(ModelError, match=r"frontend_config\.json"):
        load_model(stored)


@pytest.mark.parametrize("change", [{}, {"model": 3}, {"input": {}}, {"model": {"model_type": "whisper"}}])
def test_a_damaged_description_is_refused(stored, change):
    file = stored / "frontend_config.json"
    description = {**json.loads(file.read_text(encoding="utf-8")), **change} if change else {}
    file.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises((ModelError, ConfigError), match="stored front end"):
        load_model(stored)


def test_without_transformers_the_package_is_named(stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPackageError, match="pip install transformers"):
        load_model(stored)
    with pytest.raises(MissingPackageError, match="pip install transformers"):
        SelfSupervised("microsoft/wavlm-base")
