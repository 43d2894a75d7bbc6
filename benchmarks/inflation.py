"""Measure how much common mistakes of evaluation change the recall.

The features are all layers of a frozen Whisper, the classifier is a standardised class-balanced
logistic regression.

OMP_NUM_THREADS=1 python benchmarks/inflation.py path/to/whisper-base-encoder \
    --emodb path/to/emodb --ravdess path/to/ravdess --memory cache
"""

import argparse

import numpy as np
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, paired_difference, unweighted_average_recall

SEEDS = range(5)
C_VALUES = [0.01, 0.1, 1]
N_SELECTED = 100


class Evaluation:
    """Predictions of one corpus by different protocols.

    Parameters
    ----------
    corpus : Bunch
        The corpus.
    X : ndarray of shape (n_recordings, n_layers, n_dims)
        All layers of its recordings.
    folds : ndarray of shape (n_recordings,)
        Outer fold of each recording; no speaker is in two folds.
    inner : cross-validation generator
        Inner folds of whole speakers.
    n_sentence_folds : int
        Number of folds of sentences.
    """

    def __init__(self, corpus, X, folds, inner, n_sentence_folds):
        self.X, self.y, self.speakers = X, corpus.target, corpus.groups
        self.inner = inner
        self.outer = list(LeaveOneGroupOut().split(X, self.y, folds))
        sentences = corpus.frame["sentence"].to_numpy()
        self.sentence_folds = np.empty(len(self.y), int)
        for number, (_, held_out) in enumerate(
            GroupKFold(n_sentence_folds).split(X, self.y, sentences)
        ):
            self.sentence_folds[held_out] = number

    def held_out(self, X, *scaler):
        """Predict held-out speakers, with layer and C chosen on speakers of the training set."""
        predicted, chosen = np.empty_like(self.y), []
        for train, test in self.outer:
            search = GridSearchCV(
                classifier(*scaler), grid(X), cv=self.inner, scoring="unweighted_average_recall"
            ).fit(X[train], self.y[train], groups=self.speakers[train])
            predicted[test] = search.predict(X[test])
            chosen.append(search.best_params_)
        return predicted, chosen

    def at_random(self, seed):
        """Predict random folds, with layer and C chosen by random folds of the training set."""
        inner = StratifiedKFold(5, shuffle=True, random_state=seed)
        outer = StratifiedKFold(len(self.outer), shuffle=True, random_state=seed)
        search = GridSearchCV(
            classifier(StandardScaler()),
            grid(self.X),
            cv=inner,
            scoring="unweighted_average_recall",
        )
        return cross_val_predict(search, self.X, self.y, cv=outer)

    def candidates(self):
        """Return the predictions of held-out speakers by each layer and C."""
        return [
            cross_val_predict(
                classifier(StandardScaler()).set_params(
                    layerselector__layer=layer, logisticregression__C=C
                ),
                self.X,
                self.y,
                cv=self.outer,
            )
            for layer in range(self.X.shape[1])
            for C in C_VALUES
        ]

    def best_on(self, candidates, rows):
        """Return the candidate with the highest recall on these recordings."""
        return max(
            candidates,
            key=lambda predicted: unweighted_average_recall(self.y[rows], predicted[rows]),
        )

    def best_by_fold(self, candidates):
        """Return the predictions of the best candidate for each outer fold."""
        predicted = np.empty_like(self.y)
        for _, test in self.outer:
            predicted[test] = self.best_on(candidates, test)[test]
        return predicted

    def per_speaker(self):
        """Return the layers standardised by all recordings of each speaker."""
        scaled = np.empty_like(self.X)
        for speaker in np.unique(self.speakers):
            own = self.speakers == speaker
            scaled[own] = standardize(self.X[own])
        return scaled

    def new_sentences(self, chosen, seed=None):
        """Predict held-out speakers with held-out sentences.

        With a seed, the training set is drawn from all sentences, with the same number of
        recordings of each speaker and emotion. Layer and C are those that were chosen for the
        speakers with all sentences.
        """
        rng = np.random.default_rng(seed)
        predicted = np.empty_like(self.y)
        for (train, test), parameters in zip(self.outer, chosen, strict=True):
            for fold in np.unique(self.sentence_folds):
                rows = train[self.sentence_folds[train] != fold]
                if seed is not None:
                    rows = self._draw_alike(rows, train, rng)
                fitted = classifier(StandardScaler()).set_params(**parameters)
                fitted.fit(self.X[rows], self.y[rows])
                here = test[self.sentence_folds[test] == fold]
                predicted[here] = fitted.predict(self.X[here])
        return predicted

    def _draw_alike(self, rows, pool, rng):
        """Draw as many recordings of each speaker and emotion from the pool as rows has."""
        cells = np.char.add(np.char.add(self.speakers, " "), self.y)
        names, counts = np.unique(cells[rows], return_counts=True)
        return np.concatenate(
            [
                rng.choice(pool[cells[pool] == name], count, replace=False)
                for name, count in zip(names, counts, strict=True)
            ]
        )

    def selected(self, inside):
        """Predict held-out speakers from features selected inside each fold, or on all data."""
        table = self.X.reshape(len(self.X), -1)
        model = make_pipeline(
            SelectKBest(k=N_SELECTED),
            StandardScaler(),
            LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000),
        )
        if not inside:
            table = model[0].fit_transform(table, self.y)
            model = model[1:]
        return cross_val_predict(model, table, self.y, cv=self.outer)


def classifier(*scaler):
    """Return the pipeline for layers."""
    head = LogisticRegression(class_weight="balanced", max_iter=2000)
    return make_pipeline(LayerSelector(), *scaler, head)


def grid(X):
    """Return the candidates."""
    return {"layerselector__layer": range(X.shape[1]), "logisticregression__C": C_VALUES}


def standardize(X):
    """Return X with zero mean and unit variance over its recordings."""
    return StandardScaler().fit_transform(X.reshape(len(X), -1)).reshape(X.shape)


def report(title, evaluation, predictions, references):
    """Print a recall and its difference from each reference.

    The recall of the predictions of all seeds, concatenated, is the mean of their recalls.
    """
    y, speakers = (np.tile(of, len(predictions)) for of in (evaluation.y, evaluation.speakers))
    pooled = np.concatenate(predictions)
    settings = {"groups": speakers, "random_state": 0}
    low, high = confidence_interval(unweighted_average_recall, y, pooled, **settings)
    line = f"  {title}: {unweighted_average_recall(y, pooled):.3f} [{low:.3f}, {high:.3f}]"
    if len(predictions) > 1:
        recalls = [unweighted_average_recall(evaluation.y, predicted) for predicted in predictions]
        line += f", standard deviation over seeds {np.std(recalls, ddof=1):.3f}"
    for name, reference in references.items():
        repeated = np.tile(reference, len(predictions))
        difference, low, high = paired_difference(
            unweighted_average_recall, y, pooled, repeated, **settings
        )
        line += f"; {difference:+.3f} [{low:+.3f}, {high:+.3f}] from {name}"
    print(line, flush=True)


def evaluate(evaluation):
    """Print a row for each protocol."""
    X, everything = evaluation.X, slice(None)
    strict, chosen = evaluation.held_out(X, StandardScaler())
    to_strict = {"(a)": strict}

    def row(title, *predictions, **references):
        report(title, evaluation, predictions, to_strict | references)

    report("(a) speakers held out, layer and C chosen inside", evaluation, [strict], {})
    row("(b) random split", *map(evaluation.at_random, SEEDS))
    candidates = evaluation.candidates()
    row("(c) layer and C chosen on the test data", evaluation.best_on(candidates, everything))
    row("(c) the same for each fold", evaluation.best_by_fold(candidates))
    row("(d) standardised over all recordings", evaluation.held_out(standardize(X))[0])
    row("(d) adapted: standardised by speaker", evaluation.held_out(evaluation.per_speaker())[0])
    new = evaluation.new_sentences(chosen)
    row("(e) sentences held out as well", new)
    known = [evaluation.new_sentences(chosen, seed) for seed in SEEDS]
    row("(e) as many recordings, of all sentences", *known, held_out=new)
    inside = evaluation.selected(inside=True)
    row(f"(f) {N_SELECTED} features selected inside", inside)
    outside = evaluation.selected(inside=False)
    row(f"(f) {N_SELECTED} features selected on all recordings", outside, inside=inside)


def main():
    """Run the evaluation on the given corpora."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of Whisper or of its encoder")
    parser.add_argument("--emodb", help="folder of Emo-DB")
    parser.add_argument("--ravdess", help="folder of RAVDESS")
    parser.add_argument("--memory", help="folder for caching embeddings", required=True)
    arguments = parser.parse_args()
    embedder = WhisperEmbedder(
        arguments.model, layers="all", context="recording", memory=arguments.memory
    )
    if arguments.emodb:
        corpus = load_emodb(arguments.emodb)
        X = embedder.fit_transform(corpus.recordings)
        print(f"Emo-DB: {len(X)} recordings, leave one speaker out", flush=True)
        evaluate(Evaluation(corpus, X, corpus.groups, LeaveOneGroupOut(), 5))
    if arguments.ravdess:
        corpus = load_ravdess(arguments.ravdess)
        X = embedder.fit_transform(corpus.recordings)
        print(f"RAVDESS: {len(X)} recordings, EmoBox's six folds of four actors", flush=True)
        evaluate(Evaluation(corpus, X, corpus.emobox_folds, GroupKFold(5), 2))


if __name__ == "__main__":
    main()
