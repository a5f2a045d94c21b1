"""`infer_contrast.py`, `mvector contrast`: do two recordings have one speaker?"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mvector.cli import add_device_arguments, add_model_argument, add_set_argument, translate

PICTURED_S = 600.0  # of a longer recording the pictures show the beginning


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=translate("Compare two recordings: the same person or not?"))
    parser.add_argument("--audio_path1", required=True, help=translate("the first recording"))
    parser.add_argument("--audio_path2", required=True, help=translate("the second recording"))
    add_model_argument(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        default=None,
        help=translate(
            "cosine similarity above which the voices count as one (default: the one stored with the model)"
        ),
    )
    parser.add_argument(
        "--prior",
        type=float,
        default=0.5,
        help=translate("how probable one person was before anything was heard, for the probability (default 0.5)"),
    )
    parser.add_argument(
        "--configs", default=None, help=translate("not needed: the model directory has its configuration")
    )
    parser.add_argument(
        "--save_image_path",
        default=None,
        help=translate("folder for pictures: each recording before and after cutting silence, and its spectrogram"),
    )
    add_device_arguments(parser, exported=True)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from mvector.predict import MVectorPredictor

    predictor = MVectorPredictor(
        configs=arguments.configs,
        threshold=arguments.threshold,
        model_path=arguments.model_path,
        use_gpu=arguments.use_gpu,
        device=arguments.device,
        overwrites=arguments.overrides,
    )
    paths = (arguments.audio_path1, arguments.audio_path2)
    if arguments.save_image_path is not None:  # before the verdict: they show why one is refused
        for number, path in enumerate(paths, start=1):
            save_pictures(path, predictor.sample_rate_hz, Path(arguments.save_image_path), number)
        print(translate("pictures saved in {path}").format(path=arguments.save_image_path))
    verdict = predictor.verdict(*paths)
    if arguments.model_path is None:
        print(translate("model: the small one that mvector carries; docs/starter_model.md says how far to trust it"))
    for number, path in enumerate(paths, start=1):
        print(translate("recording {number}: {path}").format(number=number, path=path))
    print(translate("similarity {score:.4f}").format(score=verdict.similarity))
    if verdict.threshold is None:
        print(translate("This model has no threshold, so there is no verdict. Give one with --threshold."))
    else:
        origin = _origin(predictor.model.metrics, given=arguments.threshold is not None)
        print(translate("threshold {threshold:.4f} ({origin})").format(threshold=verdict.threshold, origin=origin))
        answer = translate("the same person") if verdict.same else translate("different people")
        print(translate("verdict: {answer}").format(answer=answer))
    probability = verdict.probability(arguments.prior)
    if probability is not None:
        print(
            translate(
                "probability of one person {probability:.2f} % (prior {prior:g}; log-likelihood ratio {llr:+.2f})"
            ).format(probability=100 * probability, prior=arguments.prior, llr=verdict.llr)
        )
    for warning in verdict.warnings:
        print(translate("warning: {text}").format(text=translate(warning)))
    if "synthetic" in predictor.model.metrics:
        print(translate(predictor.model.metrics["synthetic"]))


def save_pictures(path: str, sample_rate_hz: int, folder: Path, number: int) -> None:
    """`{number}_{name}_silence.png`: the waveform before and after cutting silence; `…_spectrogram.png`."""
    from mvector.audio import load_audio, save_spectrogram_picture, save_waveform_picture, trim_silence

    waveform = load_audio(path, sample_rate_hz, end_s=PICTURED_S, warnings=[])  # the verdict tells the warnings
    name = f"{number}_{Path(path).stem}"
    after = trim_silence(waveform, sample_rate_hz) if waveform.any() else waveform[:0]
    save_waveform_picture(folder / f"{name}_silence.png", waveform, after, sample_rate_hz)
    save_spectrogram_picture(folder / f"{name}_spectrogram.png", waveform, sample_rate_hz)


def _origin(metrics: dict[str, Any], given: bool) -> str:
    if given:
        return translate("given by --threshold")
    own = metrics.get("calibrated_on", {}).get("list")
    if own is not None:
        return translate("stored with the model: chosen on {list} by mvector calibrate").format(list=own)
    trials = metrics.get("development", {}).get("list")
    if trials is None:
        return translate("stored with the model")
    return translate("stored with the model: the equal error rate of its development trials {list}").format(list=trials)
