"""The scripts in Chinese: every text has a Chinese form, every form belongs to a text, and errors are recognised."""

import argparse
import ast
import errno
import gettext
import inspect
import os
import re
import string
import sys
from pathlib import Path

import numpy as np
import pytest

import mvector
from mvector.cli import chinese, language
from mvector.cli.chinese import ARGPARSE, SCRIPTS, SENTENCES
from mvector.errors import MVectorError

PACKAGE = Path(mvector.__file__).parent
VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


def speak(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def in_chinese(monkeypatch):
    speak(monkeypatch, LANG="zh_CN.UTF-8")


def placeholders(text: str) -> list[tuple[str | None, str | None]]:
    return sorted((name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name is not None)


def sources(folder: Path) -> list[ast.Module]:
    files = [file for file in sorted(folder.rglob("*.py")) if file != Path(chinese.__file__)]
    return [ast.parse(file.read_text(encoding="utf-8")) for file in files]


def template(node: ast.AST) -> str | None:
    """A text as the source has it, with {} for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def passed_texts(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every literal passed to `translate`, and every text that building the parsers and listing the parts passes."""
    texts = {
        node.args[0].value
        for module in sources(PACKAGE)
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "translate"
        and isinstance(node.args[0], ast.Constant)
    }
    from mvector.cli import calibrate, contrast, create_data, evaluate, list_parts, main, train

    def note(text: str) -> str:
        texts.add(text)
        return text

    for module in (mvector.cli, calibrate, contrast, create_data, evaluate, list_parts, train):
        monkeypatch.setattr(module, "translate", note)
    for module in (calibrate, contrast, create_data, evaluate, list_parts, train):
        module.build_parser()
    main([])
    list_parts.main([])
    return texts


# ---------------------------------------------------------------- the catalogue


def test_every_text_of_the_scripts_has_a_chinese_form_and_no_form_is_stale(monkeypatch):
    assert set(SCRIPTS) == passed_texts(monkeypatch)


@pytest.mark.parametrize("catalogue", [SCRIPTS, SENTENCES], ids=["scripts", "sentences"])
def test_placeholders_agree(catalogue):
    for english, translated in catalogue.items():
        assert placeholders(english) == placeholders(translated), english


def test_argparse_placeholders_agree():
    for english, translated in ARGPARSE.items():
        found = [re.findall(r"%(?:\(\w+\))?[srd]", text) for text in (english, translated)]
        assert sorted(found[0]) == sorted(found[1]), english


@pytest.mark.parametrize("catalogue", [SCRIPTS, SENTENCES, ARGPARSE], ids=["scripts", "sentences", "argparse"])
def test_what_is_translated_is_chinese(catalogue):
    for english, translated in catalogue.items():
        assert translated != english
        assert re.search("[\u4e00-\u9fff]", translated) or not re.search("[a-z]{3}", translated.replace("null", ""))


def test_no_sentence_is_stale():
    """Each is in the source as it stands, or is said of a field of the schema, or comes from the operating system."""
    from mvector.config.augmentation import AugmentationConfig
    from mvector.config.messages import expectation, walk
    from mvector.config.schema import Config

    texts = {template(node) for module in sources(PACKAGE) for node in ast.walk(module)} - {None}
    said = [expectation(field) for schema in (Config, AugmentationConfig) for _, field in walk(schema)]
    said += [os.strerror(errno.ENOENT), *(f"a whole number {how}" for how in ("above 0", "from 1 to 2"))]
    for english in SENTENCES:
        as_in_source = re.sub(r"\{\w+\}", "{}", english)
        assert as_in_source in texts or any(language._pattern(english).fullmatch(text) for text in said), english


def test_every_expectation_of_the_schema_is_wholly_chinese(in_chinese):
    from mvector.config.messages import expectation, walk
    from mvector.config.schema import Config

    for _, field in walk(Config):
        text = language.translate(expectation(field))
        assert re.search("[\u4e00-\u9fff]", text) or text in ("true 或 false",), text
        assert not re.search(r"\b(a|of|at|one|or|number|section)\b", text), text


# ---------------------------------------------------------------- which language


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_TW"}, True),
        ({"LANG": "zh"}, True),
        ({"LANG": "zh-Hans-CN"}, True),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C"}, False),
        ({"LANG": "zha_CN"}, False),
        ({"LANG": "de_DE.UTF-8"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, True),
        ({"LC_MESSAGES": "zh_CN", "LC_ALL": "en_GB.UTF-8"}, False),
        ({"LANGUAGE": "zh_CN:en", "LC_ALL": "en_US.UTF-8"}, True),
        ({"LANGUAGE": "de:zh:en", "LANG": "de_DE.UTF-8"}, True),
        ({"LANGUAGE": "en:zh", "LANG": "zh_CN.UTF-8"}, False),
        ({"LANGUAGE": "", "LANG": "zh_CN.UTF-8"}, True),
    ],
)
def test_the_environment_decides_in_gettexts_order(monkeypatch, variables, expected):
    speak(monkeypatch, **variables)
    monkeypatch.setattr(sys, "platform", "linux")
    assert language.is_chinese() is expected
    assert language.translate("error") == ("错误" if expected else "error")


@pytest.mark.parametrize("identifier", [0x0804, 0x0404, 0x0C04])  # China, Taiwan, Hong Kong
def test_on_windows_the_system_decides_where_no_variable_does(monkeypatch, identifier):
    import ctypes

    class Dll:
        class kernel32:
            GetUserDefaultUILanguage = staticmethod(lambda: identifier)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", Dll, raising=False)
    speak(monkeypatch)
    assert language.is_chinese()
    identifier = 0x0409  # English (United States)
    assert not language.is_chinese()
    identifier = 0x0804
    speak(monkeypatch, LANG="en_US.UTF-8")
    assert not language.is_chinese()


def test_an_unknown_text_stays_as_it_is(in_chinese):
    assert language.translate("a text that nobody wrote") == "a text that nobody wrote"
    assert language.translate("") == ""


def test_english_stays_untouched(monkeypatch):
    speak(monkeypatch, LANG="C")
    for text in SCRIPTS:
        assert language.translate(text) == text
    assert language.translate("a.yml: no such configuration file.") == "a.yml: no such configuration file."


# ---------------------------------------------------------------- errors in their finished form


def config_error(*arguments, **settings):
    from mvector.config import load_config

    return lambda path: load_config(*(path / a if a == "no.yml" else a for a in arguments), **settings)


def list_error(text: str):
    def read(path):
        from mvector.data.lists import read_data_list

        (path / "list.txt").write_text(text, encoding="utf-8")
        read_data_list(path / "list.txt")

    return read


def missing_list(path):
    from mvector.data.lists import read_data_list

    read_data_list(path / "missing.txt")


def trial_error(path):
    from mvector.data.trials import read_trials

    (path / "trials.txt").write_text("1 a.wav b.wav\nmaybe a.wav b.wav\n", encoding="utf-8")
    read_trials(path / "trials.txt")


def audio_error(source, **settings):
    from mvector.audio import load_audio

    return lambda path: load_audio(path / source if isinstance(source, str) else source, **settings)


def speech_error(waveform):
    from mvector.audio import require_speech

    return lambda path: require_speech(waveform, 16000, "录音.wav")


def model_error(path):
    from mvector.model_directory import load_model

    load_model(path / "models" / "X" / "best_model")


def resume_error(path):
    from mvector.training.checkpoint import load_state

    load_state(path)


def corpus_error(path):
    from mvector.registry import CORPORA

    CORPORA.get("aishell1")().recordings(path / "nowhere")


def no_root_error(path):
    from mvector.cli.create_data import main

    main(["--corpus", "musan"])


def empty_folder_error(path):
    from mvector.registry import CORPORA

    CORPORA.get("folder")().recordings(path)


def device_error(path):
    from mvector.device import choose_device

    choose_device("tpu0")


ERRORS = {
    "no configuration": (config_error("no.yml"), "没有这个配置文件"),
    "unknown key": (config_error({"train_conf": {"max_epochs": 3}}), "没有这个配置项"),
    "unknown key, nearest": (config_error({"train_conf": {"max_epochs": 3}}), "您是不是想写 'max_epoch'？"),
    "two mistakes": (config_error({"train_conf": {"max_epoch": 0, "seed": "x"}}), "（另有 1 处错误）"),
    "wrong type": (config_error({"train_conf": {"max_epoch": "many"}}), "现在是 文本 'many'，应为 不小于 1 的整数"),
    "wrong choice": (config_error({"train_conf": {"amp_dtype": "bf16"}}), "bfloat16, float16 之一"),
    "unknown backbone": (config_error({"model_conf": {"model": "EcapaTDN"}}), "没有名为 'EcapaTDN' 的主干网络"),
    "unknown optimiser": (config_error({"optimizer_conf": {"optimizer": "Adan"}}), "没有名为 'Adan' 的优化器"),
    "wrong argument": (config_error({"loss_conf": {"loss_args": {"margn": 1}}}), "您是不是想写 'margin'？"),
    "override": (config_error({}, overrides=["max_epoch"]), "应写成 键=值"),
    "spaces in a list": (list_error("a.wav 1\n"), "不要用空格"),
    "empty list": (list_error("\n"), "数据列表是空的"),
    "no recording of a list": (list_error("a.wav\t1\n"), "一段都不存在"),
    "no list": (missing_list, "列表无法读取（没有这个文件或文件夹）"),
    "no trial": (trial_error, "1|0 注册语音 测试语音"),
    "no sound file": (audio_error("no.wav"), "没有这个文件"),
    "a folder": (audio_error("."), "这是文件夹"),
    "no sound": (audio_error(b"no sound at all"), "不是能读取的声音文件"),
    "not finite": (audio_error(np.full(16000, np.nan)), "无穷大"),
    "16-bit values": (audio_error(np.full(16000, 300.0)), "请除以 32768"),
    "too short": (audio_error(np.zeros(100, np.float32)), "秒声音；至少需要"),
    "silence": (speech_error(np.zeros(16000, np.float32)), "录音.wav：完全静音"),
    "no speech": (speech_error(np.full(32000, 0.001, np.float32)), "录音.wav：里面没有人说话"),
    "no model": (model_error, "没有模型目录"),
    "nothing to resume": (resume_error, "请从 last_model 文件夹继续"),
    "no corpus": (corpus_error, "。应有的目录结构：data_aishell/wav/{train,dev,test}/SNNNN/NAME.wav"),
    "no folder of a corpus": (no_root_error, "NAME.wav。下载地址：https://www.openslr.org/17/"),
    "empty corpus": (empty_folder_error, "没有找到录音：它是空的"),
    "unknown device": (device_error, "没有名为 'tpu0' 的设备"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_the_library_is_recognised(name, in_chinese, tmp_path):
    provoke, expected = ERRORS[name]
    with pytest.raises(MVectorError) as caught:
        provoke(tmp_path)
    assert expected in language.translate(str(caught.value))


def test_what_an_error_names_is_carried_over(in_chinese):
    text = language.translate("C:\\数据\\my {list}.txt:7: expected '1|0 enroll test' or 'enroll test target|nontarget' "
                              "(one form in the whole list), found 'x: y. z'.")  # fmt: skip
    assert text.startswith("C:\\数据\\my {list}.txt:7：")
    assert text.endswith("现在是 'x: y. z'。")


def test_a_sentence_after_a_place_and_before_a_hint(in_chinese):
    text = "a.yml:3: train_conf.epochs: unknown key; allowed here: max_epoch, seed. Did you mean 'max_epoch'?"
    assert language.translate(text) == (
        "a.yml:3: train_conf.epochs: 没有这个配置项；这里可以写：max_epoch, seed。您是不是想写 'max_epoch'？"
    )


def test_warnings_of_a_verdict_are_recognised(in_chinese):
    from mvector.audio import load_audio

    warnings: list[str] = []
    load_audio(np.ones(8000, np.float32) * 0.1, 16000, source_rate_hz=8000, warnings=warnings)
    assert "以 8000 Hz 录制，不含 4000 Hz 以上的成分" in language.translate(warnings[0])


# ---------------------------------------------------------------- argparse


@pytest.fixture
def argparse_words(monkeypatch):
    monkeypatch.setattr(argparse, "_", argparse._)
    monkeypatch.setattr(argparse, "ngettext", argparse.ngettext)
    language.translate_argparse()


@pytest.mark.parametrize("command", ["train", "evaluate", "contrast", "create_data", "list_parts"])
def test_help_has_no_english_sentence(command, in_chinese, argparse_words):
    import importlib

    text = importlib.import_module(f"mvector.cli.{command}").build_parser().format_help()
    assert "用法：" in text
    assert not re.search(r"\b(the|usage|options|show|help message|default:)\b", text, re.IGNORECASE)


def test_argparse_errors_in_chinese(in_chinese, argparse_words, capsys):
    parser = argparse.ArgumentParser(prog="x")
    parser.add_argument("--n", type=int, choices=[1, 2], required=True)
    for arguments, expected in (
        ([], "x：错误：缺少必需的参数：--n"),
        (["--n", "3"], "无效的选择 3"),
        (["--n", "z"], "无效的 int 值：'z'"),
        (["--n", "1", "--m"], "无法识别的参数：--m"),
        (["--n"], "需要一个值"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(arguments)
        assert expected in capsys.readouterr().err


def test_argparse_stays_english_elsewhere(monkeypatch, argparse_words):
    speak(monkeypatch, LANG="en_US.UTF-8")
    assert argparse.ArgumentParser(prog="x").format_help().startswith("usage: x")
    assert argparse.ngettext("expected %s argument", "expected %s arguments", 2) == "expected %s arguments"


def test_argparse_is_changed_once(argparse_words):
    words = argparse._
    language.translate_argparse()
    assert argparse._ is words
    assert inspect.unwrap(words) is gettext.gettext
