"""One recording's embedding on one thread, in float32 and with `model_conf.precision: bfloat16`.

    python benchmarks/embedding.py [--model EcapaTdnn] [--seconds 3] [--repeats 40] [--model_path DIR]

From waveform to embedding, as a verdict computes it; the two precisions take turns. Medians of the processor time with
the quartiles are printed, and the cosine between both embeddings. Without --model_path the weights are random, which
changes nothing of the speed.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it

import numpy as np
import torch

from mvector.config import load_config
from mvector.embedder import SpeakerEmbedder
from mvector.export.int8 import artificial_voice
from mvector.model_directory import load_model

PRECISIONS = ("float32", "bfloat16")


def build(arguments: argparse.Namespace) -> dict[str, SpeakerEmbedder]:
    """The same network in each precision."""
    if arguments.model_path:
        return {
            p: load_model(arguments.model_path, overrides=[f"model_conf.precision={p}"]).embedder for p in PRECISIONS
        }
    embedders: dict[str, SpeakerEmbedder] = {}
    for precision in PRECISIONS:
        torch.manual_seed(0)
        preprocess = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}, "waveform_scale": 32768.0}
        model = {"model": arguments.model, "precision": precision}
        config = load_config({"preprocess_conf": preprocess, "model_conf": model})
        embedders[precision] = SpeakerEmbedder.from_config(config).eval()
    return embedders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="EcapaTdnn", help="backbone")
    parser.add_argument("--model_path", help="a model directory instead of random weights")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    embedders = build(arguments)
    rate = embedders["float32"].featurizer.sample_rate_hz
    voice = artificial_voice(arguments.seconds, rate, 130.0, seed=0)
    times: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for repeat in range(arguments.repeats + 3):
        for precision, embedder in embedders.items():
            started = time.process_time()
            embedder.embed([voice])
            if repeat >= 3:
                times[precision].append(time.process_time() - started)
    reference = statistics.median(times["float32"])
    for precision, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(
            f"{precision:8} {1000 * median:6.1f} ms ({1000 * low:.1f} to {1000 * high:.1f}), "
            f"{arguments.seconds / median:5.0f} × real time, {reference / median:4.2f} × float32"
        )
    first, second = (embedder.embed([voice])[0] for embedder in embedders.values())
    print(f"cosine {first @ second / np.linalg.norm(first) / np.linalg.norm(second):.6f}")


if __name__ == "__main__":
    main()
