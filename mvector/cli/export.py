"""`tools/export.py`, `mvector export`: a model for other runtimes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mvector.cli import translate
from mvector.errors import ConfigError

FILE_NAMES = {"onnx": "model.onnx", "torchscript": "model.torchscript.pt"}
INT8_NAME = "model.int8.onnx"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=translate("Write a model for other runtimes."))
    parser.add_argument("--model_path", default="models/EcapaTdnn_Fbank/best_model/", help=translate("model directory"))
    parser.add_argument("--to", choices=list(FILE_NAMES), default="onnx", help=translate("kind of file"))
    parser.add_argument(
        "--with_features",
        action="store_true",
        help=translate("one file from waveform to embedding; without it the file takes features"),
    )
    parser.add_argument(
        "--int8", action="store_true", help=translate("8-bit weights where the network bears them (ONNX only)")
    )
    parser.add_argument(
        "--output", default=None, help=translate("file or folder to write (default: beside the model, model.onnx …)")
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    if arguments.int8 and arguments.to != "onnx":
        raise ConfigError("--int8 is for ONNX files: leave it out, or export with --to onnx.")
    from mvector.model_directory import load_model

    model = load_model(arguments.model_path, "cpu")
    target = _target(arguments.output, model.path, INT8_NAME if arguments.int8 else FILE_NAMES[arguments.to])
    notes: list[str] = []
    if arguments.to == "onnx":
        from mvector.export.onnx_files import OPSET, export_onnx

        notes = export_onnx(model, target, arguments.with_features, arguments.int8)
        written = translate("model written to {path} (ONNX opset {opset})").format(path=target, opset=OPSET)
    else:
        from mvector.export.torchscript import export_torchscript

        export_torchscript(model, target, arguments.with_features)
        written = translate("model written to {path}").format(path=target)
    for note in notes:
        print(translate("warning: {text}").format(text=translate(note)))
    print(written)
    if arguments.to == "onnx":
        print(translate("Compare two recordings with it, without torch:"))
        print(f"  python infer_contrast.py --model_path {target} --audio_path1 a.wav --audio_path2 b.wav")


def _target(output: str | None, folder: Path, name: str) -> Path:
    if output is None:
        return folder / name
    path = Path(output)
    return path / name if path.is_dir() or output.endswith(("/", "\\")) else path
