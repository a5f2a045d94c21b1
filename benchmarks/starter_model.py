"""How fast the model that the package carries is: a clip of 3 s, one thread, times real time.

python benchmarks/starter_model.py
"""

import argparse
import os
import statistics
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from mvector.predict import MVectorPredictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_path", default=None, help="another exported model (default: the one of the package)")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    predictor = MVectorPredictor(model_path=arguments.model_path)
    rng = np.random.default_rng(0)
    clip = rng.normal(0.0, 0.1, round(arguments.seconds * predictor.sample_rate_hz)).astype(np.float32)
    for _ in range(5):
        predictor.embedder.embed([clip])
    times = []
    for _ in range(arguments.repeats):
        started = time.perf_counter()
        predictor.embedder.embed([clip])
        times.append(time.perf_counter() - started)
    median, low, high = statistics.median(times), *np.quantile(times, [0.1, 0.9])
    print(
        f"{1e3 * median:.2f} ms ({1e3 * low:.2f} – {1e3 * high:.2f}, 80 % of them) for {arguments.seconds:g} s: "
        f"{arguments.seconds / median:.0f} times real time on one thread"
    )


if __name__ == "__main__":
    main()
