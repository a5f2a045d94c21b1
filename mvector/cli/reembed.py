"""`tools/reembed.py`: a store of enrolled voices moved to another model, from the recordings that it kept."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvector.cli import add_device_arguments, translate
from mvector.errors import NoSpeechError, StoreError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate(
            "Move the enrolled people to another model: embed their recordings anew. Cut off and run again, it goes on."
        )
    )
    parser.add_argument("--model_path", required=True, help=translate("the new model: its directory, or an .onnx file"))
    parser.add_argument(
        "--audio_db_path",
        default="audio_db",
        help=translate("folder of the enrolled people, or a postgresql:// address"),
    )
    parser.add_argument(
        "--drop",
        action="store_true",
        help=translate("delete enrolled recordings that were not kept or that the new model cannot embed"),
    )
    add_device_arguments(parser, exported=True)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    location = arguments.audio_db_path
    from mvector.store.sqlite import FILE_NAME

    if "://" not in location and not (Path(location) / FILE_NAME).is_file():
        raise StoreError(f"{location}: no people are enrolled there, it has no {FILE_NAME}; check --audio_db_path.")
    from mvector.fingerprint import model_fingerprint
    from mvector.predict import MVectorPredictor
    from mvector.recognition.hearing import hear
    from mvector.recognition.recogniser import ENROLLED_MOST_S
    from mvector.store import open_store
    from mvector.store.reembed import reembed

    predictor = MVectorPredictor(model_path=arguments.model_path, device=arguments.device, use_gpu=arguments.use_gpu)

    def embed(sound: bytes) -> tuple[np.ndarray, dict[str, float]]:
        heard = hear(sound, predictor.sample_rate_hz, predictor.embedder, predictor.config, most_s=ENROLLED_MOST_S)
        if heard.embedding is None:
            raise NoSpeechError("nobody speaks in it, or not long enough for this model")
        return heard.embedding, heard.quality.numbers()

    fingerprint = model_fingerprint(predictor.model.path, predictor.config)
    with open_store(location, fingerprint, predictor.embedder.embedding_size, moving=True) as store:
        moved = reembed(store, embed, arguments.drop, translate("re-embedding"))
        people = store.count()
    print(
        translate("{people:,} people with {utterances:,} recordings now belong to the model {path}").format(
            people=people, utterances=moved.utterances, path=arguments.model_path
        )
    )
    if moved.dropped:
        print(translate("{dropped:,} enrolled recordings were deleted").format(dropped=moved.dropped))
