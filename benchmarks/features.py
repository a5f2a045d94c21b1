"""Feature extraction on a CPU, as a ratio to torchaudio (or, where it does not import, to a plain implementation).

    python benchmarks/features.py [--threads 1] [--batch 16] [--repeats 30] [--speech FOLDER]

Each round times all candidates one after the other, in turn, so that whatever else the machine does hits them alike;
the medians are printed, with the quartiles in brackets. `one by one` is what AudioFeaturizer does on a CPU;
`together` is its way on a GPU. With --speech Fbank is also timed on that folder's recordings, each by itself, as it
comes.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mvector.audio import load_audio
from mvector.errors import MissingPackageError
from mvector.features import AudioFeaturizer
from mvector.features.fbank import Fbank

SECONDS = 3
MELKWARGS = {"n_fft": 512, "hop_length": 160, "n_mels": 80}
RECIPES = {
    "Fbank": {"num_mel_bins": 80},
    "MelSpectrogram": MELKWARGS,
    "Spectrogram": {"n_fft": 512, "win_length": 400, "hop_length": 160},
    "MFCC": {"melkwargs": MELKWARGS},
}


def plain_fbank(waveforms: torch.Tensor, module: Fbank) -> torch.Tensor:
    """Fbank as one would write it down: the whole batch at once, complex magnitude, dense mel product."""
    frames = waveforms.unfold(1, module.window_samples, module.shift_samples)
    frames = frames - frames.mean(-1, keepdim=True)
    previous = torch.nn.functional.pad(frames, (1, 0), mode="replicate")[..., :-1]
    frames = (frames - 0.97 * previous) * module.window
    power = torch.fft.rfft(frames, n=module.fft_size).abs().pow(2)
    features = (power @ module.filters.matrix).clamp_min(1.1920929e-07).log()
    return features - features.mean(1, keepdim=True)


def quartiles_ms(candidates: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, ...]]:
    """First quartile, median and third quartile of the time of each candidate."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for repeat in range(repeats + 3):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if repeat >= 3:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: tuple(statistics.quantiles(values, n=4, method="inclusive")) for name, values in times.items()}


def on_recordings(folder: Path, limit: int, repeats: int) -> None:
    """Seconds of recorded sound whose Fbank is computed in a second, one recording after the other."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".wav", ".flac"))
    step = max(1, len(files) // limit)  # from all of the folder
    waveforms = [torch.from_numpy(load_audio(file, 16000))[None] for file in files[::step][:limit]]
    if not waveforms:
        raise SystemExit(f"{folder} has no .wav or .flac files")
    duration_s = sum(waveform.shape[1] for waveform in waveforms) / 16000
    modules = {"ours": AudioFeaturizer("Fbank", RECIPES["Fbank"])}
    try:
        modules["torchaudio"] = AudioFeaturizer("Fbank", RECIPES["Fbank"], backend="torchaudio")
    except MissingPackageError as error:
        print(error)
    with torch.inference_mode():
        times = quartiles_ms(
            {name: lambda module=module: [module(one) for one in waveforms] for name, module in modules.items()},
            repeats,
        )
    print(f"{len(waveforms)} recordings of {folder}, {duration_s / len(waveforms):.1f} s on average")
    for name, quartiles in times.items():
        slow, median, quick = (1000 * duration_s / time for time in reversed(quartiles))
        print(
            f"Fbank {name:11} {median:7.0f} [{slow:.0f}, {quick:.0f}] s of sound a second, "
            f"ours is {quartiles[1] / times['ours'][1]:.2f} × as quick"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--speech", type=Path, help="folder of recordings")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    waveforms = 0.1 * torch.randn(arguments.batch, 16000 * SECONDS)
    print(f"{arguments.batch} utterances of {SECONDS} s, {arguments.threads} thread(s), torch {torch.__version__}")

    for method, method_args in RECIPES.items():
        ours = AudioFeaturizer(method, method_args)
        batched = AudioFeaturizer(method, method_args)
        batched.feature._one_by_one = batched.feature._together
        candidates: dict[str, Callable[[], object]] = {
            "one by one": lambda module=ours: module(waveforms),
            "together": lambda module=batched: module(waveforms),
        }
        try:
            theirs = AudioFeaturizer(method, method_args, backend="torchaudio")
            candidates["torchaudio"] = lambda module=theirs: module(waveforms)
        except MissingPackageError:
            pass
        if method == "Fbank":
            candidates["plain"] = lambda module=ours.feature: plain_fbank(waveforms, module)
        with torch.inference_mode():
            times = quartiles_ms(candidates, arguments.repeats)
        for name, quartiles in times.items():
            low, median, high = (time / arguments.batch for time in quartiles)
            print(
                f"{method:15} {name:11} {median:7.3f} [{low:.3f}, {high:.3f}] ms an utterance, "
                f"{median / SECONDS:6.3f} ms a second, {quartiles[1] / times['one by one'][1]:5.2f} × ours"
            )
    if arguments.speech:
        on_recordings(arguments.speech, 40, arguments.repeats)


if __name__ == "__main__":
    main()
