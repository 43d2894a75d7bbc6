"""Measure the difficulty of the synthetic speech: linear pipeline, mean F0, shuffled labels.

With seed 0, also the two models of the quickstart, with two speakers held out at a time.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import EmoHRNetClassifier, LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

SEEDS = range(8)


def recall_of(X, y, speakers):
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    predicted = cross_val_predict(classifier, X, y, groups=speakers, cv=LeaveOneGroupOut())
    return unweighted_average_recall(y, predicted)


def shuffle_within(y, speakers, rng):
    shuffled = y.copy()
    for speaker in np.unique(speakers):
        shuffled[speakers == speaker] = rng.permutation(y[speakers == speaker])
    return shuffled


def quickstart_models():
    """Yield the pipelines of the quickstart by their names."""
    statistics = LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None)
    yield "linear", make_pipeline(statistics, StandardScaler(), LogisticRegression(max_iter=1000))
    spectrograms = LogMelSpectrogram(n_mels=32, hop_length=1024, duration=2.0, normalize=None)
    settings = {"width": 8, "head_width": 4, "n_frequency_masks": 0, "mixup": 0}
    training = {"max_epochs": 25, "batch_size": 32, "learning_rate": 0.006, "random_state": 0}
    yield "network", make_pipeline(spectrograms, EmoHRNetClassifier(**settings, **training))


def evaluate_quickstart():
    corpus = make_emotional_speech(random_state=0)
    y, speakers = corpus.target, corpus.groups
    for name, pipeline in quickstart_models():
        predicted = cross_val_predict(
            pipeline, corpus.recordings, y, groups=speakers, cv=GroupKFold(4), n_jobs=-1
        )
        recall = unweighted_average_recall(y, predicted)
        low, high = confidence_interval(
            unweighted_average_recall, y, predicted, groups=speakers, random_state=0
        )
        print(f"quickstart, {name}: {recall:.3f} [{low:.3f}, {high:.3f}]")


def main():
    front_end = LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None)
    recalls = {"linear pipeline": [], "mean F0 alone": [], "shuffled labels": []}
    for seed in SEEDS:
        corpus = make_emotional_speech(random_state=seed)
        X, y, speakers = front_end.transform(corpus.recordings), corpus.target, corpus.groups
        f0 = np.log(corpus.frame[["f0"]].to_numpy())
        shuffled = shuffle_within(y, speakers, np.random.default_rng(seed))
        recalls["linear pipeline"].append(recall_of(X, y, speakers))
        recalls["mean F0 alone"].append(recall_of(f0, y, speakers))
        recalls["shuffled labels"].append(recall_of(X, shuffled, speakers))
    for name, values in recalls.items():
        print(f"{name:22} {min(values):.3f} to {max(values):.3f}, seeds 0 to {max(SEEDS)}")
    evaluate_quickstart()


if __name__ == "__main__":
    main()
