"""The commands as programs: help, mistakes, names."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from mvector.cli import COMMANDS, boolean, main, run
from mvector.errors import ConfigError
from mvector.registry import BACKBONES, CORPORA, FEATURES, LOSSES, POOLINGS

ROOT = Path(__file__).parents[2]


def english(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.setenv(name, "C")


def test_help_lists_every_command(capsys, monkeypatch):
    english(monkeypatch)
    main([])
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 50


@pytest.mark.parametrize("file", sorted((ROOT / "mvector" / "cli").glob("*.py")), ids=lambda file: file.stem)
def test_openvino_is_offered_where_an_exported_model_is_taken(file):
    source = file.read_text(encoding="utf-8")
    parser = getattr(importlib.import_module(f"mvector.cli.{file.stem}"), "build_parser", None)
    if parser is not None and "--device" in parser().format_help():
        runs_exported = any(name in source for name in ("MVectorPredictor(", "open_model(", "mvector.serve"))
        assert ("openvino" in parser().format_help()) == runs_exported


def test_version(capsys):
    import mvector

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"mvector {mvector.__version__}"
    assert mvector.__version__.startswith("2.0.0.dev")


def test_list_names_every_part(capsys):
    main(["list"])
    text = capsys.readouterr().out
    for registry in (FEATURES, BACKBONES, POOLINGS, LOSSES, CORPORA):
        for name in registry.names():
            assert f"  {name} " in text


def test_a_mistake_is_one_line_and_status_2(capsys, monkeypatch):
    english(monkeypatch)

    def command(argv):
        raise ConfigError("the key 'batchsize' is unknown")

    with pytest.raises(SystemExit) as stop:
        run(command, [])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: the key 'batchsize' is unknown\n"


def test_ctrl_c_is_status_130(capsys):
    def command(argv):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run(command, [])
    assert stop.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_boolean():
    assert [boolean(text) for text in ("True", "true", "1", "False", "no")] == [True, True, True, False, False]
    with pytest.raises(Exception, match="True or False"):
        boolean("maybe")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.py", "--configs", "nowhere.yml"], "nowhere.yml"),
        (["train.py", "--configs", "configs/ecapa_tdnn.yml", "--set", "train_conf.max_epok=3"], "max_epoch"),
        (["eval.py", "--model_path", "nowhere"], "nowhere"),
        (["create_data.py", "--corpus", "voxcelleb1", "--root", "."], "voxceleb1"),
    ],
)
def test_scripts_answer_a_mistake_with_a_sentence(arguments, expected, tmp_path):
    script = ROOT / arguments[0]
    command = [str(ROOT / a) if a.startswith("configs/") else a for a in arguments[1:]]
    done = subprocess.run(
        [sys.executable, str(script), *command], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_scripts_are_thin():
    for script in ROOT.glob("*.py"):
        assert len(script.read_text(encoding="utf-8").splitlines()) < 30
