"""Configuration: what loads, what is translated, what is refused and in which words."""

import copy
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mvector.config import AugmentationConfig, Config, load_augmentation, load_config
from mvector.config.documentation import documentation
from mvector.config.messages import walk
from mvector.config.names import NAMES_OF_1_1
from mvector.config.section import section_of
from mvector.errors import ConfigError

ROOT = Path(__file__).parent.parent


def form_1_1(model: str, batch_size: int, eval_batch_size: int, model_args: str, label_smoothing: str = "0.0") -> bytes:
    """A file as the mvector 1.1.7 package carries it: these keys and values, Chinese comments, CRLF."""
    text = f"""\
# 数据集参数
dataset_conf:
  dataset:
    # 最短（秒）
    min_duration: 0.3
    max_duration: 3
    sample_rate: 16000
    use_dB_normalization: True
    target_dB: -20
  sampler:
    batch_size: {batch_size}
    drop_last: True
  dataLoader:
    num_workers: 8
  # 评估
  eval_conf:
    batch_size: {eval_batch_size}
    max_duration: 20
  train_list: 'dataset/train_list.txt'
  enroll_list: 'dataset/cn-celeb-test/enroll_list.txt'
  trials_list: 'dataset/cn-celeb-test/trials_list.txt'
  is_use_pksampler: False
  sample_per_id: 4
# 特征
preprocess_conf:
  use_hf_model: False
  feature_method: 'Fbank'
  method_args:
    sample_frequency: 16000
    num_mel_bins: 80
model_conf:
  model: '{model}'
  model_args: {model_args}
  classifier:
    classifier_type: 'Cosine'
    num_speakers: 2796
    num_blocks: 0
loss_conf:
  loss: 'AAMLoss'
  loss_args:
    margin: 0.2
    scale: 32
    easy_margin: False
    label_smoothing: {label_smoothing}
  use_margin_scheduler: True
  margin_scheduler_args:
    initial_margin: 0.0
    final_margin: 0.3
optimizer_conf:
  optimizer: 'Adam'
  optimizer_args:
    lr: 0.001
    weight_decay: !!float 1e-5
  scheduler: 'WarmupCosineSchedulerLR'
  scheduler_args:
    min_lr: !!float 1e-5
    max_lr: 0.001
    warmup_epoch: 5
train_conf:
  enable_amp: False
  use_compile: False
  max_epoch: 60
  log_interval: 100
"""
    return text.replace("\n", "\r\n").encode()


FILES_1_1 = {
    "cam++": form_1_1("CAMPPlus", 64, 8, "{embd_dim: 192}"),
    "ecapa_tdnn": form_1_1(
        "EcapaTdnn", 128, 16, "{embd_dim: 192, pooling_type: 'ASP', channels: [512, 512, 512, 512, 1536]}"
    ),
    "eres2net": form_1_1("ERes2Net", 32, 4, "{embd_dim: 192, m_channels: 32}"),
    "res2net": form_1_1("Res2Net", 32, 4, "{embd_dim: 192, pooling_type: 'ASP', m_channels: 32}"),
    "resnet_se": form_1_1("ResNetSE", 32, 4, "{embd_dim: 192, pooling_type: 'ASP'}", label_smoothing="0.1"),
    "tdnn": form_1_1("TDNN", 64, 8, "{embd_dim: 192, channels: 512, pooling_type: 'ASP'}"),
}

AUGMENTATION_1_1 = {
    "speed": {"prob": 1.0, "speed_perturb_3_class": False},
    "volume": {"prob": 0.0, "min_gain_dBFS": -15, "max_gain_dBFS": 15},
    "noise": {"prob": 0.5, "noise_dir": "dataset/noise", "min_snr_dB": 10, "max_snr_dB": 50},
    "reverb": {"prob": 0.5, "reverb_dir": "dataset/reverb"},
    "spec_aug": {
        "prob": 0.5,
        "freq_mask_ratio": 0.1,
        "n_freq_masks": 1,
        "time_mask_ratio": 0.05,
        "n_time_masks": 1,
        "max_time_warp": 0,
    },
}

FORM_1_0 = """\
use_model: EcapaTdnn
dataset_conf:
  min_duration: 0.5
  max_duration: 3
  sample_rate: 16000
  use_dB_normalization: true
  target_dB: -20
  do_vad: false
  num_speakers: 3242
  train_list: dataset/train_list.txt
  enroll_list: dataset/enroll_list.txt
  trials_list: dataset/trials_list.txt
  dataLoader: {batch_size: 32, drop_last: true, num_workers: 4}
  eval_conf: {batch_size: 8, max_duration: 20}
  aug_conf: {speed_perturb: true, noise_dir: dataset/noise, noise_aug_prob: 0.3}
  use_spec_aug: true
  spec_aug_args: {freq_mask_width: [0, 8], time_mask_width: [0, 30]}
preprocess_conf:
  feature_method: Fbank
  method_args: {sample_frequency: 16000, num_mel_bins: 80}
model_conf:
  backbone: {embd_dim: 192, pooling_type: ASP}
  classifier: {num_blocks: 0}
loss_conf:
  use_loss: AAMLoss
  args: {margin: 0.3, scale: 32}
optimizer_conf:
  optimizer: SGD
  learning_rate: 0.01
  weight_decay: 1e-6
  momentum: 0.9
train_conf: {max_epoch: 30, log_interval: 100}
"""


def write(folder: Path, content: str | bytes, name: str = "config.yml") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(source, overrides=(), **arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestForm11:
    @pytest.mark.parametrize("name", FILES_1_1)
    def test_loads_unchanged(self, tmp_path, name):
        path = write(tmp_path, FILES_1_1[name])
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        loaded = load_config(path).model_dump()

        def contains(whole, part):
            for key, value in part.items():
                if isinstance(value, dict):
                    contains(whole[key], value)
                else:
                    assert whole[key] == value, key

        contains(loaded, given)

    def test_attributes_have_the_yaml_names(self, tmp_path):
        config = load_config(write(tmp_path, FILES_1_1["ecapa_tdnn"]))
        assert config.dataset_conf.dataLoader.num_workers == 8
        assert config.dataset_conf.eval_conf.max_duration == 20
        assert config.model_conf.classifier.classifier_type == "Cosine"
        assert config.optimizer_conf.optimizer_args == {"lr": 0.001, "weight_decay": 1e-5}

    def test_augmentation_file_loads_unchanged(self, tmp_path):
        text = "# 语速增强\n" + yaml.safe_dump(AUGMENTATION_1_1, sort_keys=False)
        loaded = load_augmentation(write(tmp_path, text.replace("\n", "\r\n")))
        assert loaded.model_dump(exclude_unset=True) == AUGMENTATION_1_1
        assert loaded.channel is None

    def test_names_not_here_yet_are_known(self):
        for model in NAMES_OF_1_1["backbone"]:
            assert load_config({"model_conf": {"model": model}}).model_conf.model == model
        for loss in NAMES_OF_1_1["loss"]:
            classifier = {"classifier": {"K": 3 if loss == "SubCenterLoss" else 1}}
            assert load_config({"model_conf": classifier, "loss_conf": {"loss": loss}}).loss_conf.loss == loss


class TestForm10:
    def test_translation(self, tmp_path, caplog):
        path = write(tmp_path, FORM_1_0)
        with caplog.at_level(logging.WARNING, logger="mvector"):
            config = load_config(path)
        assert len(caplog.records) == 1
        warning = caplog.records[0].getMessage()
        assert str(path) in warning
        data = config.dataset_conf
        assert (data.dataset.min_duration, data.dataset.max_duration) == (0.5, 3)
        assert (data.sampler.batch_size, data.sampler.drop_last, data.dataLoader.num_workers) == (32, True, 4)
        assert config.model_conf.model == "EcapaTdnn"
        assert config.model_conf.model_args == {"embd_dim": 192, "pooling_type": "ASP"}
        assert config.model_conf.classifier.num_speakers == 3242
        assert config.loss_conf.loss_args == {"margin": 0.3, "scale": 32}
        assert config.optimizer_conf.optimizer_args == {"lr": 0.01, "weight_decay": 1e-6, "momentum": 0.9}
        assert config.augmentation is not None
        assert config.augmentation.speed is not None
        assert config.augmentation.speed.prob == 1.0
        assert config.augmentation.noise is not None
        assert config.augmentation.noise.prob == 0.3
        assert config.augmentation.spec_aug is not None
        assert config.augmentation.spec_aug.freq_mask_ratio == 8 / 80
        assert config.augmentation.spec_aug.time_mask_ratio == 30 / 300
        # What the warning shows is the same configuration in today's form.
        new_form = warning.split("\n", 1)[1]
        caplog.clear()
        assert load_config(write(tmp_path, new_form, "new.yml")) == config
        assert not caplog.records

    @pytest.mark.parametrize(
        "values",
        [
            {"use_model": "EcapaTdnn"},
            {"dataset_conf": {"speed_perturb": True, "noise_dir": "n", "noise_aug_prob": 0.1}},
            {"dataset_conf": {"dataLoader": {"batch_size": 4}}},
            {"dataset_conf": {"dataset": {"do_vad": True}}},
            {"optimizer_conf": {"learning_rate": 0.1, "momentum": 0.9}},
            {"loss_conf": {"args": {"margin": 0.1}}},
        ],
    )
    def test_any_old_key_is_translated(self, values, caplog):
        before = copy.deepcopy(values)
        load_config(values)
        assert len(caplog.records) == 1
        assert values == before

    def test_unknown_key_is_still_refused(self):
        assert "bachsize" in refusal({"use_model": "EcapaTdnn", "dataset_conf": {"bachsize": 3}})
        assert "dataset_conf.aug_conf" in refusal({"dataset_conf": {"aug_conf": {"speed_pertrub": True}}})


class TestRefusal:
    """Each is one line: place, dotted key, what was found, what is allowed, nearest."""

    @pytest.mark.parametrize(
        ("yaml_text", "line", "parts"),
        [
            ("train_conf:\n  max_epoc: 3", 2, ["train_conf.max_epoc", "unknown key", "log_interval", "'max_epoch'"]),
            ("train_cnf: {}", 1, ["train_cnf", "unknown key", "preprocess_conf", "'train_conf'"]),
            ("train_conf:\n  max_epoch: sixty", 2, ["train_conf.max_epoch", "'sixty'", "a whole number"]),
            ("train_conf:\n  max_epoch: 1.5", 2, ["train_conf.max_epoch", "1.5", "a whole number"]),
            ("train_conf:\n  max_epoch: 0", 2, ["train_conf.max_epoch", "found 0", "at least 1"]),
            ("train_conf:\n\n  enable_amp: 1", 3, ["train_conf.enable_amp: found 1", "true or false or auto."]),
            ("train_conf: {enable_amp: aut}", 1, ["train_conf.enable_amp: found the text 'aut'", "or auto."]),
            ("train_conf: {clip_grad_norm: .nan}", 1, ["train_conf.clip_grad_norm", "nan", "a number"]),
            ("dataset_conf: 3", 1, ["dataset_conf", "found 3", "section", "train_list"]),
            (
                "dataset_conf:\n  batch_size: 3",
                2,
                ["dataset_conf.batch_size: unknown key", "dataset_conf.sampler.batch_size"],
            ),
            ("model_conf:\n  model: EcapaTdn", 2, ["model_conf.model", "'EcapaTdn'", "CAMPPlus", "mean 'EcapaTdnn'"]),
            ("model_conf:\n  model_args: 7", 2, ["model_conf.model_args", "found 7", "section"]),
            ("loss_conf:\n  loss: AAMLos", 2, ["loss_conf.loss", "CELoss", "mean 'AAMLoss'"]),
            ("preprocess_conf:\n  feature_method: fbank", 2, ["preprocess_conf.feature_method", "mean 'Fbank'"]),
            ("preprocess_conf:\n  backend: nativ", 2, ["preprocess_conf.backend", "torchaudio", "mean 'native'"]),
            ("optimizer_conf:\n  optimizer: adam", 2, ["optimizer_conf.optimizer", "'adam'", "SGD", "mean 'Adam'"]),
            ("optimizer_conf:\n  scheduler: StepLr", 2, ["optimizer_conf.scheduler", "mean 'StepLR'"]),
            ("optimizer_conf:\n  scheduler: StepLR", 1, ["scheduler_args.step_size", "missing", "StepLR"]),
            (
                "model_conf:\n  model: EcapaTdnn\n  model_args:\n    embd_dims: 192",
                4,
                ["model_conf.model_args.embd_dims", "EcapaTdnn", "pooling_type", "mean 'embd_dim'"],
            ),
            ("loss_conf:\n  loss_args: {margn: 1}", 2, ["loss_conf.loss_args.margn", "easy_margin", "mean 'margin'"]),
            ("loss_conf:\n  loss_args: {margin: x}", 2, ["loss_conf.loss_args.margin", "'x'", "a number"]),
            (
                "loss_conf:\n  margin_scheduler_args: {final: 1}",
                2,
                ["loss_conf.margin_scheduler_args.final", "mean 'final_margin'"],
            ),
            (
                "preprocess_conf:\n  method_args:\n    num_mel_bin: 80",
                3,
                ["preprocess_conf.method_args.num_mel_bin", "Fbank", "mean 'num_mel_bins'"],
            ),
            ("optimizer_conf:\n  optimizer_args: {lr: 1e-3x}", 2, ["optimizer_args.lr", "'1e-3x'", "a number"]),
            ("optimizer_conf:\n  scheduler_args: {warmup: 3}", 2, ["scheduler_args.warmup", "mean 'warmup_epoch'"]),
            ("optimizer_conf:\n  scheduler_args: {min_lr: 1}", 2, ["scheduler_args.min_lr", "max_lr"]),
            (
                "dataset_conf:\n  dataset:\n    sample_rate: 8000",
                1,
                ["preprocess_conf.method_args.sample_frequency", "16000", "dataset_conf.dataset.sample_rate, 8000"],
            ),
            ("augmentation:\n  noise:\n    prob: 1.5", 3, ["augmentation.noise.prob", "1.5", "from 0 to 1"]),
            ("augmentation:\n  noise: {min_snr_dB: 60}", 2, ["augmentation.noise.min_snr_dB", "max_snr_dB"]),
        ],
    )
    def test_message(self, tmp_path, yaml_text, line, parts):
        path = write(tmp_path, yaml_text)
        message = refusal(path)
        place = f"{path}:{line}: "
        if "sample_frequency" in parts[0]:
            place = f"{path}: "  # the file has no line for the key that does not fit
        assert message.startswith(place)
        for part in parts:
            assert part in message

    def test_several_mistakes(self, tmp_path):
        message = refusal(write(tmp_path, "train_conf: {max_epoch: x, log_interval: y, z: 1}"))
        assert message.endswith("(and 2 more)")

    def test_a_name_may_not_lead_to_just_any_callable(self):
        assert "torch.nn.Module" in refusal({"model_conf": {"model": "subprocess.Popen"}})
        assert "torch.nn.Module" in refusal({"preprocess_conf": {"feature_method": "os.system"}})
        assert "cannot be imported" in refusal({"loss_conf": {"loss": "no_such_package.Loss"}})

    def test_a_class_of_ones_own(self, tmp_path, monkeypatch):
        write(
            tmp_path,
            "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, input_size, width=3): ...\n",
            "my_network_of_tests.py",
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        conf = {"model": "my_network_of_tests.Net", "model_args": {"width": 4}}
        assert load_config({"model_conf": conf}).model_conf.model_args == {"width": 4}
        conf["model_args"] = {"input_size": 4}
        assert "model_conf.model_args.input_size" in refusal({"model_conf": conf})

    def test_names_are_left_alone_on_request(self):
        assert load_config({"model_conf": {"model": "Nothing"}}, check_names=False).model_conf.model == "Nothing"

    def test_a_hugging_face_model_is_no_class_name(self):
        conf = {"use_hf_model": True, "feature_method": "facebook/w2v-bert-2.0", "method_args": {"use_gpu": True}}
        assert load_config({"preprocess_conf": conf}).preprocess_conf.feature_method == "facebook/w2v-bert-2.0"

    def test_pk_sampler_and_sub_centres_fit_together(self):
        conf = {"is_use_pksampler": True, "sample_per_id": 3, "sampler": {"batch_size": 64}}
        assert "dataset_conf.sample_per_id" in refusal({"dataset_conf": conf})
        assert "model_conf.classifier.K" in refusal({"loss_conf": {"loss": "SubCenterLoss"}})


class TestYaml:
    @pytest.mark.parametrize("number", ["1e-5", "1E-5", "1.0e-5", "!!float 1e-5", "0.00001", "1.e-5"])
    def test_scientific_notation_is_a_number(self, tmp_path, number):
        path = write(tmp_path, f"optimizer_conf:\n  optimizer_args: {{weight_decay: {number}}}")
        assert load_config(path).optimizer_conf.optimizer_args["weight_decay"] == 1e-5

    def test_text_that_only_looks_like_a_number_survives(self, tmp_path):
        config = load_config(write(tmp_path, "dataset_conf: {train_list: '1e-5', data_root: '1_000'}"))
        assert config.dataset_conf.train_list == "1e-5"
        assert load_config(write(tmp_path, config.to_yaml())) == config
        assert load_config({}, config.describe().splitlines()) == config

    @pytest.mark.parametrize(
        ("content", "line", "parts"),
        [
            (b"train_conf:\n\tmax_epoch: 3\n", 2, ["tab", "spaces"]),
            (b"train_conf:\n  max_epoch: 3\n  seed: 1\n  max_epoch: 4\n", 4, ["'max_epoch'", "line 2"]),
            (b"train_conf: {}\ntrain_conf: {}\n", 2, ["'train_conf'", "line 1"]),
            ("# 训练\n".encode("gbk") + b"train_conf: {}\n", 1, ["UTF-8"]),
            (b"a: 1\n" + "# 训练\n".encode("gbk"), 2, ["UTF-8"]),
            ("train_conf: {}\n".encode("utf-16"), 1, ["UTF-8"]),
            (b"train_conf:\n  max_epoch: [1, 2\n", 3, ["',' or ']'"]),
            (b"train_conf:\n  seed: \x07\n", 2, ["U+0007"]),
            (b"train_conf:\n  no: 1\n", 2, ["'no'", "not text"]),
        ],
    )
    def test_broken_files(self, tmp_path, content, line, parts):
        path = write(tmp_path, content)
        message = refusal(path)
        assert message.startswith(f"{path}:{line}: ")
        for part in parts:
            assert part in message

    @pytest.mark.parametrize("content", [b"- 1\n", b"text", b"a: &a [*a]\n", b"seed: !!python/object:os.system x\n"])
    def test_other_things_than_a_configuration(self, tmp_path, content):
        assert str(tmp_path) in refusal(write(tmp_path, content))

    def test_missing_file(self, tmp_path):
        assert "no such" in refusal(tmp_path / "nothing.yml")
        assert str(tmp_path) in refusal(tmp_path)

    def test_byte_order_mark_empty_file_and_empty_sections(self, tmp_path):
        assert load_config(write(tmp_path, b"\xef\xbb\xbftrain_conf: {max_epoch: 7}")).train_conf.max_epoch == 7
        assert load_config(write(tmp_path, b"")) == Config()
        assert load_config(write(tmp_path, "model_conf:\n  model_args:\n  classifier:\ntrain_conf:\n")) == Config()

    def test_chinese_paths(self, tmp_path):
        path = write(tmp_path, "dataset_conf:\n  train_list: 数据/训练.txt\n", "配置.yml")
        config = load_config(path, ["dataset_conf.data_root=D:\\语音 数据"])
        assert config.dataset_conf.train_list == "数据/训练.txt"
        assert config.dataset_conf.data_root == "D:\\语音 数据"
        assert "数据/训练.txt" in config.to_yaml()


class TestOverrides:
    def test_values_are_yaml(self):
        config = load_config(
            {"model_conf": {"model": "EcapaTdnn"}},
            [
                "train_conf.max_epoch=3",
                "train_conf.max_epoch=4",
                "train_conf.enable_amp=true",
                "optimizer_conf.optimizer_args.weight_decay=1e-5",
                "model_conf.model_args.channels=[64, 64, 64, 64, 192]",
                "dataset_conf.trials_list=null",
                "loss_conf.loss_args={margin: 0.1}",
                "augmentation.noise.prob=0.25",
                "dataset_conf.data_root=a=b",
            ],
        )
        assert config.train_conf.max_epoch == 4
        assert config.train_conf.enable_amp is True
        assert config.optimizer_conf.optimizer_args["weight_decay"] == 1e-5
        assert config.model_conf.model_args["channels"] == [64, 64, 64, 64, 192]
        assert config.dataset_conf.trials_list is None
        assert config.loss_conf.loss_args == {"margin": 0.1}
        assert config.augmentation is not None
        assert config.augmentation.noise is not None
        assert config.augmentation.noise.prob == 0.25
        assert config.dataset_conf.data_root == "a=b"

    @pytest.mark.parametrize(
        ("override", "parts"),
        [
            ("train_conf.max_epoc=3", ["train_conf.max_epoc", "unknown key", "'max_epoch'"]),
            ("train_conf.max_epoch=x", ["train_conf.max_epoch", "'x'", "a whole number"]),
            ("batch_size=3", ["dataset_conf.sampler.batch_size"]),
            ("train_conf.max_epoch", ["key=value"]),
            ("=3", ["key=value"]),
            ("train_conf..seed=3", ["key=value"]),
            ("train_conf.max_epoch.x=3", ["train_conf.max_epoch", "not a section"]),
            ("train_conf.seed=[1", ["not readable as YAML"]),
            ("model_conf.model_args.embd_dims=3", ["model_conf.model_args.embd_dims", "'embd_dim'"]),
        ],
    )
    def test_refusal_names_the_override(self, override, parts):
        message = refusal({}, [override])
        assert message.startswith(f"--set {override}: ")
        for part in parts:
            assert part in message

    def test_a_mistake_in_the_file_still_names_the_file(self, tmp_path):
        path = write(tmp_path, "train_conf: 3")
        assert refusal(path, ["train_conf.seed=3"]).startswith(f"{path}:1: train_conf: ")


class TestAugmentation:
    def test_a_file_joins_the_configuration_and_is_stored_with_it(self, tmp_path):
        path = write(
            tmp_path, "noise: {prob: 0.3, noise_dir: 噪声}\nchannel: {prob: 0.4}\nspeed:\n", "augmentation.yml"
        )
        config = load_config({"augmentation": {"speed": {}}}, ["augmentation.noise.prob=0.2"], path)
        assert config.augmentation is not None
        assert config.augmentation.speed is None
        assert config.augmentation.noise is not None
        assert (config.augmentation.noise.prob, config.augmentation.noise.noise_dir) == (0.2, "噪声")
        assert config.augmentation.channel is not None
        assert config.augmentation.channel.model_dump() == {
            "prob": 0.4,
            "min_bandwidth_Hz": 3000,
            "max_bandwidth_Hz": 8000,
            "max_low_cut_Hz": 300,
            "max_tilt_dB": 10,
        }
        assert load_config(write(tmp_path, config.to_yaml())) == config

    def test_refusal_names_the_augmentation_file(self, tmp_path):
        path = write(tmp_path, "noise:\n  probe: 0.3\n", "augmentation.yml")
        message = refusal({}, augmentation=path)
        assert message.startswith(f"{path}:2: noise.probe: unknown key")
        with pytest.raises(ConfigError, match="max_low_cut_Hz"):
            load_augmentation({"channel": {"max_low_cut_Hz": 4000.0}})

    @pytest.mark.parametrize("speeds", [[1.0], [0.9, 0.9], [0.95], [0.9, 1.3], []])
    def test_speeds_are_tenths_around_one(self, speeds):
        assert "speed.speeds" in refusal({"augmentation": {"speed": {"speeds": speeds}}})
        assert load_augmentation({"speed": {"speeds": [1.2, 0.8]}}).speed.speeds == [1.2, 0.8]


class TestResolved:
    def test_warm_up_takes_the_optimisers_rate(self):
        config = load_config({"optimizer_conf": {"optimizer": "SGD", "optimizer_args": {"lr": 0.1}}})
        assert config.optimizer_conf.scheduler_args == {"min_lr": 1e-5, "max_lr": 0.1, "warmup_epoch": 5}

    def test_yaml_and_describe_load_back_equal(self, tmp_path):
        config = load_config(write(tmp_path, FORM_1_0), ["augmentation.channel.prob=0.5", "train_conf.seed=7"])
        text = config.to_yaml()
        assert load_config(write(tmp_path, text)) == config
        assert load_config(write(tmp_path, text)).to_yaml() == text
        assert yaml.safe_load(text).keys() == Config.model_fields.keys()
        assert load_config({}, config.describe().splitlines()) == config
        assert "train_conf.seed=7" in config.describe().splitlines()

    def test_every_field_is_described(self):
        for schema in (Config, AugmentationConfig):
            for key, field in walk(schema):
                inner = section_of(field)
                assert field.description or (inner and inner.__doc__), ".".join(key)

    def test_defaults_are_valid(self):
        assert load_config(Config().model_dump()) == Config()


class TestCommitted:
    @pytest.mark.parametrize(
        "path",
        sorted(p for p in (ROOT / "configs").rglob("*.yml") if p.name != "augmentation.yml"),
        ids=lambda p: p.stem,
    )
    def test_recipes_load(self, path):
        conf = load_config(path).preprocess_conf
        assert conf.waveform_scale == (1 if conf.use_hf_model else 32768)

    def test_augmentation_loads(self):
        assert load_augmentation(ROOT / "configs" / "augmentation.yml").channel is not None

    def test_documentation_is_up_to_date(self):
        committed = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
        assert committed == documentation(), "run: python -m mvector.config > docs/configuration.md"

    def test_documentation_names_the_commands_that_take_set(self):
        takes = {
            f.stem
            for f in (ROOT / "mvector" / "cli").glob("*.py")
            if "add_set_argument(parser)" in f.read_text("utf-8")
        }
        expected = {"mvector calibrate"} if "calibrate" in takes else set()  # the only command without a script
        for script in [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py")]:
            module = re.search(r"from mvector\.cli\.(\w+) import main", script.read_text("utf-8"))
            if module is not None and module[1] in takes:
                expected.add(script.relative_to(ROOT).as_posix())
        sentence = documentation().partition("It is taken by")[2].partition("- Names of classes")[0]
        assert set(re.findall("`(.+?)`", sentence)) == expected

    def test_documentation_names_every_key(self):
        text = documentation()
        for schema in (Config, AugmentationConfig):
            for key, _ in walk(schema):
                assert key[-1] in text

    def test_import_needs_no_torch(self):
        code = "import sys, mvector.config; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
