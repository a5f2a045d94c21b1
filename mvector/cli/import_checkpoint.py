"""`tools/import_checkpoint.py`: a published checkpoint becomes a model directory."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mvector.cli import translate
from mvector.cli.train import join_command
from mvector.config.yaml_text import parse_value
from mvector.errors import ConfigError

if TYPE_CHECKING:
    from mvector.config import Config
    from mvector.export.runtime import ExportedModel
    from mvector.model_directory import ModelDirectory


def build_parser() -> argparse.ArgumentParser:
    from mvector.zoo.presets import PRESETS

    width = max(len(name) for name in PRESETS)
    listing = "\n".join(f"  {name:<{width}}  {preset.file}, {preset.page}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        description=translate("Turn a published checkpoint into a model directory with that model's own features."),
        epilog=f"{translate('presets (usual file name and page):')}\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source", required=True, metavar="FILE", help=translate("the checkpoint or its ONNX export, on this computer")
    )
    parser.add_argument("--save_dir", required=True, help=translate("the model directory to write, models/NAME"))
    parser.add_argument("--preset", default=None, help=translate("a published file by name, see below"))
    parser.add_argument(
        "--family",
        default=None,
        help=translate("instead of a preset: mvector, 3dspeaker, wespeaker, speechbrain or resemblyzer"),
    )
    parser.add_argument(
        "--architecture", default=None, help=translate("the class name in the published implementation")
    )
    parser.add_argument(
        "--arguments",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help=translate("its constructor's arguments, as in --arguments feat_dim=80 embedding_size=192"),
    )
    parser.add_argument(
        "--configs",
        default=None,
        help=translate("for a model.pth of the mvector package: the configuration it was trained with"),
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    from mvector.zoo.importing import import_checkpoint

    model = import_checkpoint(
        options.source,
        options.save_dir,
        family=options.family,
        architecture=options.architecture,
        arguments=parse_arguments(options.arguments),
        preset=options.preset,
        configs=options.configs,
    )
    report(model)


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Published constructor arguments from `key=value` texts (values in YAML), or from one text `{"key": value, …}`."""
    if len(texts) == 1 and texts[0].lstrip().startswith("{"):
        values = parse_value(texts[0], "--arguments")
        return {str(key): value for key, value in values.items()}
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--arguments {text}: expected key=value, such as embedding_size=192.")
        values[key] = parse_value(value, f"--arguments {text}")
    return values


def report(model: "ModelDirectory | ExportedModel") -> None:
    """What was made, whose it is, and the next commands."""
    facts, config = model.metrics["imported"], model.config
    for_torch = model.path.is_dir()  # else the ONNX file in the directory
    folder = str(model.path if for_torch else model.path.parent)
    print(
        translate("{folder}: {model}, {parameters} parameters, embeddings of {size} numbers").format(
            folder=folder,
            model=config.model_conf.model,
            parameters=f"{model.metrics['parameters']:,}",
            size=model.metrics["embedding_size"],
        )
    )
    print(translate("features: {features}").format(features=_features(config)))
    print(
        translate("licence: {licence}").format(licence=facts["licence"] or translate("ask where the file comes from"))
    )
    if facts["page"] is not None:
        print(translate("published at {page}").format(page=facts["page"]))
    if facts["published"] is not None:
        print(translate("its publishers report: {result}").format(result=facts["published"]))
    print(translate("Compare two recordings:"))
    recordings = ["--audio_path1", "a.wav", "--audio_path2", "b.wav"]
    print("  " + join_command(["python", "infer_contrast.py", "--model_path", folder, *recordings]))
    if not for_torch:
        print(translate("It has no threshold: give one with --threshold."))
        return
    print(
        translate("It has no threshold. Measure one on trials of recordings like yours, and give it with --threshold:")
    )
    print(
        "  " + join_command(["python", "eval.py", "--model_path", folder, "--set", "dataset_conf.trials_list=TRIALS"])
    )


def _features(config: "Config") -> str:
    """The recipe in the words of the configuration."""
    preprocess, dataset = config.preprocess_conf, config.dataset_conf.dataset
    words = [preprocess.feature_method]
    words += [f"{key}={value}" for key, value in preprocess.method_args.items()]
    words += [f"waveform_scale={preprocess.waveform_scale:g}", f"mean_norm={preprocess.mean_norm}".lower()]
    if dataset.use_dB_normalization:
        words.append(f"target_dB={dataset.target_dB:g}")
    return " ".join(words)
