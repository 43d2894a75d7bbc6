"""Count forward passes and time a grid search over layers, with and without `memory=`.

python benchmarks/one_pass.py path/to/emodb path/to/whisper-base-encoder
"""

import sys
import tempfile
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.backbones._whisper import WhisperBackbone
from sklearn_ser.datasets import load_emodb

N_RECORDINGS = 35
GRID = {"layer__layer": [1, 2, 3, 4, 5], "classifier__C": [0.1, 1]}


def pipeline(model, **steps):
    """Return the pipeline. `cache` is the memory of the pipeline; others go to the embedder."""
    cache = steps.pop("cache", None)
    embedder = WhisperEmbedder(model, layers="all", context="recording", **steps)
    return Pipeline(
        [
            ("embed", embedder),
            ("layer", LayerSelector()),
            ("scale", StandardScaler()),
            ("classifier", LogisticRegression(max_iter=1000)),
        ],
        memory=cache,
    )


def main():
    """Count forward passes and time each method."""
    corpus = load_emodb(sys.argv[1])
    chosen = np.linspace(0, len(corpus.target) - 1, N_RECORDINGS).astype(int)
    recordings = [corpus.recordings[row] for row in chosen]
    emotions = corpus.target[chosen] == "anger"
    passed = []
    encode = WhisperBackbone.encode

    def count(self, waveforms, depth):
        passed.append(len(waveforms))
        return encode(self, waveforms, depth)

    WhisperBackbone.encode = count
    pipeline(sys.argv[2]).fit(recordings, emotions)  # loads the weights before timing
    with tempfile.TemporaryDirectory() as folder:
        methods = {
            "scikit-learn's Pipeline": {},
            "Pipeline(memory=)": {"cache": f"{folder}/joblib"},
            "embedder's memory=": {"memory": f"{folder}/store"},
            "the same, second run": {"memory": f"{folder}/store"},
        }
        seconds = {}
        for name, steps in methods.items():
            passed.clear()
            search = GridSearchCV(
                pipeline(sys.argv[2], **steps),
                GRID,
                cv=StratifiedKFold(5, shuffle=True, random_state=0),
            )
            start = time.perf_counter()
            search.fit(recordings, emotions)
            seconds[name] = time.perf_counter() - start
            print(
                f"{name:25} {sum(passed):5} forward passes of recordings "
                f"({sum(passed) / N_RECORDINGS:.0f} each), {seconds[name]:.1f} s",
                flush=True,
            )
    ratio = seconds["scikit-learn's Pipeline"] / seconds["embedder's memory="]
    print(f"scikit-learn's pipeline takes {ratio:.1f} times as long as one pass")


if __name__ == "__main__":
    main()
