"""Is silence, noise or an animal ever taken for somebody who is enrolled, and is real speech still recognised?

    python benchmarks/noise_rejection.py --list test_list.txt --noise_dir DIR
        [--model_path DIR] [--people 20] [--recordings 2] [--human person_sneeze baby_cry] [--save_json FILE]

Enrolls the first people of a data list with a few recordings each, and asks who speaks in: the rest of their
recordings, recordings of as many others, artificial sounds, and every file of --noise_dir, whose folders name the kinds
of sound. Sounds of people (--human) are counted apart: a voice is in them. Beside what `recognition` answers stands
what the cosine and its threshold alone would have answered: the embedding of the whole file, compared without asking
the detector.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mvector.audio.decode import AudioSource
from mvector.data.lists import read_data_list
from mvector.errors import MVectorError
from mvector.predict import MVectorPredictor

RATE = 16000


@dataclass
class Row:
    kind: str
    files: int = 0
    accepted: int = 0  # as anybody
    right: int = 0  # as the right person
    by_score_alone: int = 0
    enrollable: int = 0


def artificial_sounds(seconds: float = 5.0) -> Iterator[tuple[str, np.ndarray]]:
    rng, t = np.random.default_rng(0), np.arange(round(seconds * RATE)) / RATE
    pink = np.fft.irfft(np.fft.rfft(rng.standard_normal(len(t))) / np.sqrt(np.arange(len(t) // 2 + 1) + 1))
    clicks = np.zeros(len(t))
    clicks[::4000] = 0.9
    sounds = {
        "digital silence": np.zeros(len(t)),
        "dither": rng.integers(-1, 2, len(t)) / 32768,
        "white noise": 0.1 * rng.standard_normal(len(t)),
        "pink noise": 0.3 * pink / np.abs(pink).max(),
        "hum": sum(0.1 / k * np.sin(2 * np.pi * 50 * k * t) for k in (1, 2, 3, 5)),
        "tone 440 Hz": 0.3 * np.sin(2 * np.pi * 440 * t),
        "tone 150 Hz with overtones": sum(0.2 / k * np.sin(2 * np.pi * 150 * k * t) for k in range(1, 20)),
        "sweep": 0.3 * np.sin(2 * np.pi * (100 + 300 * t) * t),
        "clicks": clicks,
    }
    for name, sound in sounds.items():
        yield name, np.asarray(sound, dtype=np.float32)


def measure(predictor: MVectorPredictor, row: Row, source: AudioSource, person: str | None = None) -> None:
    row.files += 1
    answer = predictor.recognition(source, sample_rate=RATE)
    row.accepted += answer.name is not None
    row.right += person is not None and answer.name == person
    try:
        matches = predictor.store.search(predictor.predict(source, RATE), 1)
        row.by_score_alone += predictor.threshold is not None and matches[0].score > predictor.threshold
    except MVectorError:
        pass
    if person is None:
        try:
            recogniser = predictor.recogniser
            recogniser.hear_for_enrollment(source, RATE, predictor.embedder)
            row.enrollable += 1
        except MVectorError:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_path", default=None, help="default: the model that the package carries")
    parser.add_argument("--list", required=True, help="data list: path<TAB>speaker")
    parser.add_argument("--noise_dir", required=True, help="one folder per kind of sound")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--recordings", type=int, default=2, help="enrolled of each person")
    parser.add_argument("--most", type=int, default=10, help="recordings of each person that are asked about")
    parser.add_argument("--human", nargs="*", default=["person_sneeze", "baby_cry"], help="folders with human sounds")
    parser.add_argument("--save_json", default=None)
    arguments = parser.parse_args()

    of_person: dict[str, list[str]] = {}
    for utterance in read_data_list(arguments.list):
        of_person.setdefault(utterance.speaker, []).append(utterance.path)
    people = [name for name, paths in of_person.items() if len(paths) > arguments.recordings]
    enrolled, others = people[: arguments.people], people[arguments.people : 2 * arguments.people]
    rows: dict[str, Row] = {}

    def row(kind: str) -> Row:
        return rows.setdefault(kind, Row(kind))

    with tempfile.TemporaryDirectory() as folder:
        predictor = MVectorPredictor(model_path=arguments.model_path, audio_db_path=folder, device="cpu")
        for name in enrolled:
            for path in of_person[name][: arguments.recordings]:
                predictor.register(path, name)
        for name in enrolled:
            for path in of_person[name][arguments.recordings :][: arguments.most]:
                measure(predictor, row("speech of the enrolled"), path, name)
        for name in others:
            for path in of_person[name][: arguments.most]:
                measure(predictor, row("speech of others"), path)
        for _, sound in artificial_sounds():
            measure(predictor, row("artificial sounds"), sound)
        noises, human = Row("all noises"), Row("all human sounds")
        for file in sorted(Path(arguments.noise_dir).glob("*/*.*")):
            measure(predictor, row(file.parent.name), str(file))
        for kind in [path.name for path in sorted(Path(arguments.noise_dir).iterdir()) if path.name in rows]:
            total = human if kind in arguments.human else noises
            for key in ("files", "accepted", "by_score_alone", "enrollable"):
                setattr(total, key, getattr(total, key) + getattr(rows[kind], key))
        scoring = predictor.recogniser.scoring
        scale = (scoring.as_norm or scoring.cosine).among(len(enrolled))
        print(f"{len(enrolled)} people enrolled with {arguments.recordings} recordings each; ", end="")
        print("no threshold" if scale.threshold is None else f"{scale.method} above {scale.threshold:.4f} is somebody")
        predictor.store.close()
    print(f"{'':24} files  accepted as anybody  right person  by the score alone  enrollable")
    for each in (*rows.values(), noises, human):
        right = each.right if each.kind == "speech of the enrolled" else "-"
        enrollable = "-" if each.kind == "speech of the enrolled" else each.enrollable
        print(f"{each.kind:24} {each.files:5} {each.accepted:20} {right:>13} {each.by_score_alone:19} {enrollable:>11}")
    if arguments.save_json:
        values = [asdict(each) for each in (*rows.values(), noises, human)]
        Path(arguments.save_json).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
