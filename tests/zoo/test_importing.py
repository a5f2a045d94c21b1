"""A published checkpoint becomes a model directory: each family's own features, facts, refusals, the script."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from mvector import zoo
from mvector.cli import run
from mvector.cli.import_checkpoint import main, parse_arguments, report
from mvector.errors import ConfigError, ModelError
from mvector.features import AudioFeaturizer
from mvector.model_directory import load_model
from mvector.predict import MVectorPredictor
from mvector.registry import BACKBONES
from mvector.zoo.importing import import_checkpoint
from mvector.zoo.published import describe

ROOT = Path(__file__).parents[2]
TINY_ECAPA = {"channels": [16, 16, 16, 16, 48], "attention_channels": 8, "se_channels": 8}


def kaldi(window: str) -> dict:
    return {"sample_frequency": 16000, "num_mel_bins": 24, "window_type": window, "dither": 0.0}


# Family: its tiny member, and its features as written in its own code.
FAMILIES = {
    "wespeaker": {
        "architecture": "XVEC",
        "arguments": {"feat_dim": 24, "hid_dim": 16, "stats_dim": 32, "embed_dim": 12},
        "extra": {"projection.weight": torch.ones(5, 12)},
        "preprocess": ("Fbank", kaldi("hamming"), 32768.0, True),
        "level_db": None,
    },
    "3dspeaker": {
        "architecture": "CAMPPlus",
        "arguments": {"feat_dim": 24, "embedding_size": 12, "growth_rate": 4, "bn_size": 2, "init_channels": 16},
        "extra": {},
        "preprocess": ("Fbank", kaldi("povey"), 1.0, True),
        "level_db": None,
    },
    "mvector": {
        "architecture": "EcapaTdnn",
        "arguments": {"input_size": 24, "embd_dim": 12, **TINY_ECAPA},
        "extra": {"1.weight": torch.ones(5, 12)},
        "preprocess": ("Fbank", kaldi("povey"), 1.0, True),
        "level_db": -20.0,
    },
    "speechbrain": {
        "architecture": "ECAPA_TDNN",
        "arguments": {"input_size": 24, "lin_neurons": 12, **TINY_ECAPA},
        "extra": {},
        "preprocess": ("SpeechBrainFbank", {"sample_rate": 16000, "n_mels": 24}, 1.0, True),
        "level_db": None,
    },
    "resemblyzer": {
        "architecture": "VoiceEncoder",
        "arguments": {"model_hidden_size": 16, "model_num_layers": 2, "model_embedding_size": 12},
        "extra": {"similarity_weight": torch.ones(1), "similarity_bias": torch.ones(1)},
        "preprocess": ("ResemblyzerMel", {}, 1.0, False),
        "level_db": None,
    },
}
families = pytest.mark.parametrize("family", FAMILIES)


def published_entries(family: str) -> dict[str, torch.Tensor]:
    """Random weights under published names; those of these tiny members are ours."""
    known = FAMILIES[family]
    translation = describe(family, known["architecture"], known["arguments"])
    assert not translation.renames
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = BACKBONES.build(translation.backbone, translation.arguments).train()
        with torch.no_grad():
            model(torch.rand(4, 60, translation.arguments["input_size"]))  # statistics unlike the initial ones
    prefix = "0." if family == "mvector" else ""
    return {f"{prefix}{key}": value for key, value in model.state_dict().items()} | known["extra"]


@pytest.fixture
def make_source(tmp_path):
    def make(family: str) -> Path:
        path = tmp_path / f"{family} 模型.pt"
        entries = published_entries(family)
        wrapped = {"model_state": entries, "optimizer_state": {"step": 3}} if family == "resemblyzer" else entries
        torch.save(wrapped, path)
        return path

    return make


def import_tiny(family: str, source: Path, folder: Path, **changes):
    known = FAMILIES[family]
    return import_checkpoint(source, folder, family, known["architecture"], {**known["arguments"], **changes})


@families
def test_the_configuration_has_the_familys_own_features(family, make_source, tmp_path):
    import_tiny(family, make_source(family), tmp_path / "made")
    written = yaml.safe_load((tmp_path / "made" / "config.yml").read_text(encoding="utf-8"))
    method, arguments, scale, mean_norm = FAMILIES[family]["preprocess"]
    preprocess, dataset = written["preprocess_conf"], written["dataset_conf"]["dataset"]
    assert (preprocess["feature_method"], preprocess["method_args"]) == (method, arguments)
    assert (preprocess["waveform_scale"], preprocess["mean_norm"]) == (scale, mean_norm)
    assert dataset["sample_rate"] == 16000
    level_db = FAMILIES[family]["level_db"]
    assert dataset["use_dB_normalization"] is (level_db is not None)
    assert level_db is None or dataset["target_dB"] == level_db


@families
def test_a_prediction_is_the_published_network_on_its_own_features(family, make_source, tmp_path, voice):
    import_tiny(family, make_source(family), tmp_path / "made")
    prediction = MVectorPredictor(model_path=tmp_path / "made", device="cpu").predict(voice)

    known = FAMILIES[family]
    network = zoo.from_published(published_entries(family), family, known["architecture"], known["arguments"])
    waveform = voice.astype(np.float64)
    if known["level_db"] is not None:
        waveform *= 10.0 ** (known["level_db"] / 20.0) / np.sqrt(np.mean(waveform**2))
    method, arguments, scale, mean_norm = known["preprocess"]
    featurizer = AudioFeaturizer(method, arguments, scale, mean_norm)
    with torch.inference_mode():
        features, _ = featurizer(torch.from_numpy(waveform.astype(np.float32))[None])
        if family == "resemblyzer":
            windows = [network(features[:, start : start + 160]) for start in (0, 77, 154)]  # of the voice's 3 s
            expected = torch.stack(windows).mean(0)
        else:
            expected = network(features)
    expected = torch.nn.functional.normalize(expected)[0].numpy()
    assert np.abs(prediction - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_directory_is_whole_and_states_the_facts(make_source, tmp_path):
    source, folder = make_source("3dspeaker"), tmp_path / "models" / "某某"
    model = import_tiny("3dspeaker", source, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yml",
        "metrics.json",
        "model.safetensors",
        "speakers.txt",
    ]
    assert (folder / "speakers.txt").read_bytes() == b""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics == model.metrics
    assert metrics["imported"] == {
        "file": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "family": "3dspeaker",
        "architecture": "CAMPPlus",
        "arguments": FAMILIES["3dspeaker"]["arguments"],
        "preset": None,
        "page": None,
        "licence": None,
        "trained_on": None,
        "published": None,
    }
    assert not {"eer", "threshold", "min_dcf", "development"} & set(metrics)
    assert model.threshold is None


def test_a_preset_fills_in_what_is_known_and_it_is_printed(tmp_path, capsys):
    translation = describe("resemblyzer", "VoiceEncoder")
    torch.save(BACKBONES.build(translation.backbone, translation.arguments).state_dict(), tmp_path / "pretrained.pt")
    model = import_checkpoint(tmp_path / "pretrained.pt", tmp_path / "made", preset="resemblyzer_ge2e")
    facts = model.metrics["imported"]
    assert (facts["preset"], facts["licence"]) == ("resemblyzer_ge2e", "Apache-2.0")
    assert facts["page"] == "https://github.com/resemble-ai/Resemblyzer"
    assert model.metrics["parameters"] == 1_423_616
    assert model.config.model_conf.model_args["window_frames"] == 160
    report(model)
    facts["published"] = "Vox1-O EER 1.23 %"
    report(model)
    alone, with_result = (text.splitlines()[1:] for text in capsys.readouterr().out.split(f"{tmp_path / 'made'}: ")[1:])
    assert alone[:3] == [
        "features: ResemblyzerMel waveform_scale=1 mean_norm=false",
        "licence: Apache-2.0",
        "published at https://github.com/resemble-ai/Resemblyzer",
    ]
    assert with_result == [*alone[:3], "its publishers report: Vox1-O EER 1.23 %", *alone[3:]]


MVECTOR_CONFIG = """\
dataset_conf:
  dataset:
    sample_rate: 16000
    use_dB_normalization: True
    target_dB: -23
  trials_list: 'dataset/trials.txt'
preprocess_conf:
  feature_method: 'MelSpectrogram'
  method_args:
    sample_rate: 16000
    n_fft: 1024
    hop_length: 320
    win_length: 1024
    n_mels: 24
model_conf:
  model: 'EcapaTdnn'
  model_args:
    embd_dim: 12
    channels: [16, 16, 16, 16, 48]
    attention_channels: 8
    se_channels: 8
"""


def test_a_checkpoint_of_the_mvector_package_keeps_the_features_of_its_configuration(make_source, tmp_path, voice):
    config = tmp_path / "ecapa_tdnn.yml"
    config.write_bytes(MVECTOR_CONFIG.replace("\n", "\r\n").encode())
    model = import_checkpoint(make_source("mvector"), tmp_path / "made", configs=config)
    assert model.config.preprocess_conf.feature_method == "MelSpectrogram"
    assert model.config.preprocess_conf.method_args["hop_length"] == 320
    assert model.config.dataset_conf.dataset.target_dB == -23
    assert model.config.dataset_conf.trials_list == "dataset/trials.txt"
    assert model.metrics["imported"]["arguments"]["input_size"] == 24
    assert MVectorPredictor(model_path=tmp_path / "made", device="cpu").predict(voice).shape == (12,)


def refusal(error: type[Exception], match: str, folder: Path, *arguments, **options) -> None:
    with pytest.raises(error, match=match):
        import_checkpoint(*arguments, **options)
    assert not folder.exists()
    assert not list(folder.parent.glob(f"{folder.name}*"))


def test_what_does_not_fit_is_refused_and_nothing_is_written(make_source, tmp_path):
    source, folder = make_source("3dspeaker"), tmp_path / "made"
    tiny = FAMILIES["3dspeaker"]["arguments"]
    call = {"family": "3dspeaker", "architecture": "CAMPPlus", "arguments": tiny}
    other = {**call, "arguments": {**tiny, "embedding_size": 16}}
    refusal(ModelError, r"of another shape: xvector\.dense\.linear\.weight", folder, source, folder, **other)
    wrong_net = {"family": "mvector", "architecture": "EcapaTdnn", "arguments": {"input_size": 24}}
    refusal(ModelError, r"unknown: .* missing: ", folder, source, folder, **wrong_net)
    refusal(ModelError, "there is no checkpoint file", folder, tmp_path / "no.pt", folder, **call)
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    refusal(ModelError, r"text\.pt cannot be read", folder, tmp_path / "text.pt", folder, **call)


def test_a_file_with_objects_is_refused_without_saying_how_to_load_it_all_the_same(tmp_path):
    torch.save({"weight": print}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"cannot be read as a plain state dict: [^.]+\. Files that hold") as error:
        import_tiny("3dspeaker", tmp_path / "model.pt", tmp_path / "made")
    assert "False" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "campplus"}, "unknown preset 'campplus'; there are: 3dspeaker_campplus_zh_en"),
        ({}, "say what the file holds: --preset NAME, or --family and --architecture"),
        ({"family": "3dspeaker"}, "say what the file holds"),
        ({"preset": "resemblyzer_ge2e", "family": "resemblyzer"}, "leave out --family, --architecture and --configs"),
        ({"family": "wespeaker", "configs": {}}, "--configs is for checkpoints of the mvector package"),
        ({"configs": {}, "arguments": {"embd_dim": 3}}, "leave out --architecture and --arguments"),
        ({"configs": {"model_conf": {"model": "EcapaTDN"}}}, "no architecture 'EcapaTDN'.*Did you mean 'EcapaTdnn'"),
        ({"family": "3dspeaker", "architecture": "CAMPlus"}, "Did you mean 'CAMPPlus'"),
        (
            {"family": "3dspeaker", "architecture": "CAMPPlus", "arguments": {"embd_dim": 3}},
            "takes no argument 'embd_dim'; it takes: feat_dim",
        ),
        (
            {"family": "3dspeaker", "architecture": "CAMPPlus", "arguments": {"embedding_size": "large"}},
            "embd_dim: found the text 'large', expected a number",
        ),
        (
            {"family": "3dspeaker", "architecture": "CAMPPlus", "arguments": {"embedding_size": -3}},
            r"CAMPPlus cannot be built with \{'embedding_size': -3\}",
        ),
        ({"preset": "resemblyzer_ge2e", "arguments": {"mel_n_channels": 80}}, "have 40 bins"),
    ],
)
def test_contradictions_and_wrong_words_are_told(options, message, make_source, tmp_path):
    folder = tmp_path / "made"
    refusal(ConfigError, message, folder, make_source("3dspeaker"), folder, **options)


def test_nothing_that_is_there_is_replaced(make_source, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "diary.txt").write_text("dear diary", encoding="utf-8")
    with pytest.raises(ModelError, match="mine is there already and not empty"):
        import_tiny("3dspeaker", make_source("3dspeaker"), folder)
    assert [path.name for path in folder.iterdir()] == ["diary.txt"]
    (folder / "diary.txt").unlink()
    import_tiny("3dspeaker", make_source("3dspeaker"), folder)
    assert load_model(folder).embedder.backbone.embd_dim == 12


def test_arguments_are_pairs_or_one_mapping():
    assert parse_arguments([]) == {}
    assert parse_arguments(["feat_dim=80", "channels=[1, 2]", "two_emb_layer=false", "pooling_func=TSTP"]) == {
        "feat_dim": 80,
        "channels": [1, 2],
        "two_emb_layer": False,
        "pooling_func": "TSTP",
    }
    assert parse_arguments(['{"feat_dim": 80, "pooling_func": "TSTP"}']) == {"feat_dim": 80, "pooling_func": "TSTP"}
    for wrong in ("feat_dim", "=80"):
        with pytest.raises(ConfigError, match=f"--arguments {wrong}: expected key=value"):
            parse_arguments([wrong])
    with pytest.raises(ConfigError, match=r"--arguments a=\[1: the value is not readable as YAML"):
        parse_arguments(["a=[1"])


def command_line(family: str, source: Path, folder: Path) -> list[str]:
    known = FAMILIES[family]
    arguments = [f"{key}={json.dumps(value)}" for key, value in known["arguments"].items()]
    words = ["--family", family, "--architecture", known["architecture"], "--arguments", *arguments]
    return [*words, "--source", str(source), "--save_dir", str(folder)]


def test_it_prints_what_was_made_the_licence_and_the_next_commands(make_source, tmp_path, capsys):
    folder = tmp_path / "made"
    main(command_line("mvector", make_source("mvector"), folder))
    count = sum(p.numel() for p in load_model(folder).embedder.backbone.parameters())
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: EcapaTdnn, {count:,} parameters, embeddings of 12 numbers",
        "features: Fbank sample_frequency=16000 num_mel_bins=24 window_type=povey dither=0.0 waveform_scale=1 "
        "mean_norm=true target_dB=-20",
        "licence: ask where the file comes from",
        "Compare two recordings:",
        f"  python infer_contrast.py --model_path {folder} --audio_path1 a.wav --audio_path2 b.wav",
        "It has no threshold. Measure one on trials of recordings like yours, and give it with --threshold:",
        f"  python eval.py --model_path {folder} --set dataset_conf.trials_list=TRIALS",
    ]


def test_a_mistake_is_one_line_and_status_2(make_source, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run(main, ["--preset", "campplus", "--source", "x.pt", "--save_dir", str(tmp_path / "made")])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: unknown preset 'campplus'")


@pytest.mark.slow
def test_the_script_imports_and_the_next_script_compares(make_source, make_voice, tmp_path):
    for seed, name in enumerate(("a.wav", "b.wav")):
        soundfile.write(tmp_path / name, make_voice(3.0, seed=seed), 16000)

    def script(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, encoding="utf-8", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    words = command_line("speechbrain", make_source("speechbrain"), Path("made"))
    made = script(str(ROOT / "tools" / "import_checkpoint.py"), *words)
    assert "embeddings of 12 numbers" in made
    recordings = ["--audio_path1", "a.wav", "--audio_path2", "b.wav"]
    answer = script(str(ROOT / "infer_contrast.py"), "--model_path", "made", *recordings, "--threshold", "0.5")
    assert "verdict: " in answer
