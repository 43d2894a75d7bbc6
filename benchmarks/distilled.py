"""Two-layer students compared with their teacher on arousal, valence and dominance.

python benchmarks/distilled.py --corpus emodb path/to/emodb --unlabeled ravdess path/to/ravdess \\
    --teacher path/to/whisper-base-encoder --memory cache --students cache/students \\
    --results emodb.jsonl

Any corpus with these dimensions can be used (`iemocap`, `msp_podcast`, or `table` with the path of
a CSV file that has the columns path, speaker, arousal, valence, dominance and optionally text). For
corpora of emotions, such as Emo-DB, the dimensions are those of `datasets.emotion_dimensions`. Each
fold of each arm is a line of the file; lines that exist are not computed again.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoConfig

from sklearn_ser import (
    ConcordanceRegressor,
    DistilledRegressor,
    HubertEmbedder,
    LayerSelector,
    TextEmbedder,
    WhisperEmbedder,
)
from sklearn_ser.backbones import load_speech_backbone
from sklearn_ser.datasets import (
    emotion_dimensions,
    load_emodb,
    load_iemocap,
    load_msp_podcast,
    load_ravdess,
)
from sklearn_ser.distillation import distill_encoder
from sklearn_ser.distillation._students import (
    SpeechStudent,
    count_parameters,
    read_speech_student,
)
from sklearn_ser.metrics import (
    concordance_correlation_coefficient,
    concordance_scorer,
    paired_difference,
)

TARGETS = ["arousal", "valence", "dominance"]
OF_EMOTIONS = {"emodb": load_emodb, "ravdess": load_ravdess}
OF_DIMENSIONS = {"iemocap": load_iemocap, "msp_podcast": load_msp_podcast}
# Name of an arm -> its student. Width: None is the teacher's. Distilled: None is a slice of the
# teacher's weights; narrow students are initialised by least squares; "gradients" trains them after
# that. Taught: the teacher's predictions are learned as well, also on unlabelled recordings. Ends:
# trained end to end; else a head is trained on the frozen student.
ARMS: dict[str, dict] = {
    "two layers, not distilled": {"width": None, "distilled": None},
    "two layers": {"width": None, "distilled": "gradients"},
    "two narrow layers, not distilled": {"width": 320, "distilled": None},
    "two narrow layers": {"width": 320, "distilled": "least squares"},
    "two narrow layers, gradients too": {"width": 320, "distilled": "gradients"},
    "two narrow layers, taught": {"width": 320, "distilled": "least squares", "taught": True},
    "two narrow layers, with text": {"width": 320, "distilled": "least squares", "text": True},
    "two narrow layers, end to end": {"width": 320, "distilled": "least squares", "ends": True},
}


def load(name, path):
    """Return a table of recordings, speakers, transcripts and dimensions."""
    if name == "table":
        table = pd.read_csv(path)
        table["path"] = [str(Path(path).parent / file) for file in table["path"]]
    elif name in OF_EMOTIONS:
        corpus = OF_EMOTIONS[name](path)
        table = pd.DataFrame(emotion_dimensions(corpus.target), columns=TARGETS)
        table["path"], table["speaker"] = corpus.recordings, np.asarray(corpus.groups).astype(str)
        table["text"] = corpus.frame.get("text")
    else:
        corpus = OF_DIMENSIONS[name](path, target="dimensions")
        table = pd.DataFrame(corpus.target, columns=TARGETS)
        table["path"], table["speaker"] = corpus.recordings, np.asarray(corpus.groups).astype(str)
        table["text"] = corpus.text
    return table.dropna(subset=TARGETS).reset_index(drop=True)


def make_embedder(model, arguments):
    """Return an encoder, frozen."""
    if AutoConfig.from_pretrained(model).model_type == "whisper":
        return WhisperEmbedder(model, context="recording", memory=arguments.memory)
    return HubertEmbedder(model, memory=arguments.memory)


def make_teacher(arguments):
    """Return the search over layers and penalties of the large encoder, target by target."""
    embedder = make_embedder(arguments.teacher, arguments).set_params(layers="all")
    pipeline = make_pipeline(embedder, LayerSelector(), StandardScaler(), Ridge())
    grid = {
        "layerselector__layer": list(range(embedder._load_backbone().n_layers)),
        "ridge__alpha": [10.0, 100.0, 1000.0],
    }
    search = GridSearchCV(pipeline, grid, cv=GroupKFold(3), scoring=concordance_scorer)
    return MultiOutputRegressor(search)


def name_of(*settings):
    """Return a short name that tells settings apart."""
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


def distill(recordings, n_epochs, arguments, **settings):
    """Return the folder of a student, and distil it if it does not exist."""
    of_all = [arguments.teacher, arguments.teacher_layers, arguments.distillation_learning_rate]
    of_all.append(arguments.distillation_batch_size)
    name = name_of(of_all, arguments.dtype, n_epochs, settings, [str(path) for path in recordings])
    folder = Path(arguments.students) / name
    if not (folder / "done").exists():
        start = time.time()
        result = distill_encoder(
            arguments.teacher,
            recordings,
            folder,
            layers=arguments.teacher_layers,
            max_epochs=n_epochs,
            learning_rate=arguments.distillation_learning_rate,
            batch_size=arguments.distillation_batch_size,
            dtype=arguments.dtype,
            random_state=0,
            **settings,
        )
        losses = [f"{loss:.3f}" for loss in result.loss_curve]
        print(f"student {name}, {settings}: {time.time() - start:.0f} s", *losses, flush=True)
        (folder / "done").touch()
    return str(folder)


def make_student(settings, train, unlabeled, arguments):
    """Return the folder of a fold's student, made of its training set and as many others."""
    width, recordings = settings["width"], list(train["path"])
    if settings["distilled"] is None:
        return cut_out(width, arguments)
    recordings += unlabeled[:: max(1, len(unlabeled) // len(recordings))]
    n_epochs = arguments.distillation_epochs if settings["distilled"] == "gradients" else 0
    return distill(recordings, n_epochs, arguments, width=width)


def cut_out(width, arguments):
    """Return the folder of a student that is a slice of the teacher's weights."""
    folder = Path(arguments.students) / f"cut-out-{name_of(arguments.teacher, width)}"
    if not folder.exists():
        settings, weights = read_speech_student(arguments.teacher, n_layers=2, width=width)
        student = SpeechStudent(settings)
        student.load_state_dict(weights)
        student.save(folder)
    return str(folder)


def fit_end_to_end(student, train, arguments):
    """Fit a regressor whose encoder is trained."""
    regressor = DistilledRegressor(
        student,
        encoder_learning_rate=arguments.encoder_learning_rate,
        max_epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        dtype=arguments.dtype,
        random_state=0,
    )
    return regressor.fit(train["path"], train[TARGETS])


def fit_head(settings, student, teacher, train, unlabeled, arguments):
    """Fit a head on the embeddings of a student, and of a text encoder."""
    columns = [(make_embedder(student, arguments), "path")]
    if settings.get("text"):
        columns.append((TextEmbedder(arguments.text_model, memory=arguments.memory), "text"))
    embedders = make_column_transformer(*columns)
    head = ConcordanceRegressor(max_epochs=arguments.head_epochs, random_state=0)
    X, y, weights = embedders.fit_transform(train), train[TARGETS].to_numpy(), np.ones(len(train))
    if settings.get("taught"):  # labels, and the teacher's predictions, have equal total weights
        more = pd.DataFrame({"path": [*train["path"], *unlabeled]})
        X = np.vstack([X, embedders.transform(more)])
        y = np.vstack([y, teacher.predict(more["path"])])
        weights = np.concatenate([weights, np.full(len(more), len(train) / len(more))])
    return make_pipeline(FrozenEstimator(embedders), head.fit(X, y, sample_weight=weights))


def predict(arm, fold, train, test, unlabeled, teachers, arguments):
    """Return an arm's predictions for a fold, and the number of parameters of its encoder."""
    settings = ARMS.get(arm, {})
    if fold not in teachers and (arm == "teacher" or settings.get("taught")):
        teacher = make_teacher(arguments)
        teachers[fold] = teacher.fit(train["path"], train[TARGETS], groups=train["speaker"])
    if arm == "teacher":
        for target, search in zip(TARGETS, teachers[fold].estimators_, strict=True):
            print("teacher", fold, target, search.best_params_, flush=True)
        return teachers[fold].predict(test["path"]), count_of(arguments.teacher)
    student = make_student(settings, train, unlabeled, arguments)
    if settings.get("ends"):
        predicted = fit_end_to_end(student, train, arguments).predict(test["path"])
    else:
        fitted = fit_head(settings, student, teachers.get(fold), train, unlabeled, arguments)
        predicted = fitted.predict(test)
    return predicted, count_of(student)


def count_of(model):
    """Return the number of parameters of an encoder."""
    return count_parameters(load_speech_backbone(model, device="cpu"))


def compare_times(table, arguments, n_recordings=50, n_runs=5):
    """Print the time of students and teacher, from files to predictions."""
    some = table.iloc[:n_recordings]
    models = {}
    for name, layer in {"teacher, all layers": -1, "teacher, third layer": 3}.items():
        embedder = make_embedder(arguments.teacher, arguments).set_params(layers=layer, memory=None)
        models[name] = make_pipeline(embedder, StandardScaler(), Ridge())
    for width in (None, 320):
        embedder = make_embedder(cut_out(width, arguments), arguments).set_params(memory=None)
        models[f"student of width {width}"] = make_pipeline(
            embedder, ConcordanceRegressor(max_epochs=1)
        )
    times: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.fit(some["path"], some[TARGETS])
    for _ in range(n_runs):
        for name, model in models.items():
            start = time.perf_counter()
            model.predict(some["path"])
            times[name].append(time.perf_counter() - start)
    whole = np.array(times["teacher, all layers"])
    for name, runs in times.items():
        ratios = np.array(runs) / whole
        print(
            f"{name}: {np.median(runs):.2f} s for {n_recordings} recordings, "
            f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) of all layers"
        )


def settings_of(arguments):
    """Return what decides the results, in a line of the file."""
    left_out = {"arms", "folds", "results", "students", "memory", "time", "data"}
    return {name: value for name, value in vars(arguments).items() if name not in left_out}


def read(arguments):
    """Return the lines of these settings, by arm and fold; one that was cut off is left out."""
    path = arguments.results
    lines = {}
    for text in Path(path).read_text().splitlines() if Path(path).exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if line["settings"] == settings_of(arguments):
            lines[line["arm"], line["fold"]] = line
    return lines


def report(lines, table):
    """Print the concordance of each arm, and what it lacks of the teacher's."""
    predictions = {}
    for (arm, _), line in lines.items():
        rows = predictions.setdefault(arm, np.full((len(table), len(TARGETS)), np.nan))
        rows[line["rows"]] = line["predicted"]
    predictions = {arm: rows for arm, rows in predictions.items() if not np.isnan(rows).any()}
    y, speakers = table[TARGETS].to_numpy(), table["speaker"].to_numpy()
    for arm, predicted in predictions.items():
        line = next(line for (name, _), line in lines.items() if name == arm)
        share = line["n_parameters"] / count_of(line["settings"]["teacher"])
        print(f"{arm}: {line['n_parameters']} parameters of its encoder, {share:.1%}")
        for column, target in enumerate(TARGETS):
            own = concordance_correlation_coefficient(y[:, column], predicted[:, column])
            print(f"  {target} {own:.3f}", end="")
            if arm != "teacher" and "teacher" in predictions:
                difference, low, high = paired_difference(
                    concordance_correlation_coefficient,
                    y[:, column],
                    predicted[:, column],
                    predictions["teacher"][:, column],
                    groups=speakers,
                    random_state=0,
                )
                print(f", {difference:+.3f} [{low:+.3f}, {high:+.3f}]", end="")
        print()


def main():
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder, or table, of the corpus")
    known = [*OF_EMOTIONS, *OF_DIMENSIONS, "table"]
    parser.add_argument("--corpus", choices=known, required=True)
    parser.add_argument("--unlabeled", nargs=2, metavar=("CORPUS", "PATH"))
    parser.add_argument("--teacher", required=True, help="hub id or folder of an encoder")
    parser.add_argument("--teacher-layers", nargs="+", type=int, default=[2, 3])
    parser.add_argument("--text-model", help="hub id or folder of an encoder of text")
    parser.add_argument("--memory", help="folder to keep the teacher's embeddings in")
    parser.add_argument("--students", required=True, help="folder to keep students in")
    parser.add_argument("--results", required=True, help="file of JSON lines to add to")
    parser.add_argument("--arms", nargs="+", choices=["teacher", *ARMS], default=["teacher", *ARMS])
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--head-epochs", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--encoder-learning-rate", type=float, default=1e-5)
    parser.add_argument("--distillation-epochs", type=int, default=1)
    parser.add_argument("--distillation-learning-rate", type=float, default=2e-4)
    parser.add_argument("--distillation-batch-size", type=int, default=4)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--time", action="store_true", help="compare the time of predictions alone")
    arguments = parser.parse_args()
    table = load(arguments.corpus, arguments.data)
    if arguments.time:
        compare_times(table, arguments)
        return
    unlabeled = list(load(*arguments.unlabeled)["path"]) if arguments.unlabeled else []
    splits = list(GroupKFold(5, shuffle=True, random_state=0).split(table, groups=table["speaker"]))
    done, teachers = read(arguments), {}
    for fold in arguments.folds:
        train, test = (table.iloc[rows] for rows in splits[fold])
        for arm in arguments.arms:
            if (arm, fold) in done or (ARMS.get(arm, {}).get("text") and not arguments.text_model):
                continue
            start = time.time()
            predicted, n_parameters = predict(
                arm, fold, train, test, unlabeled, teachers, arguments
            )
            line = {
                "settings": settings_of(arguments),
                "arm": arm,
                "fold": fold,
                "rows": splits[fold][1].tolist(),
                "predicted": predicted.tolist(),
                "n_parameters": n_parameters,
            }
            with Path(arguments.results).open("a") as file:
                file.write(json.dumps(line) + "\n")
            each = concordance_correlation_coefficient(
                test[TARGETS], predicted, multioutput="raw_values"
            )
            print(arm, fold, each.round(3), f"{time.time() - start:.0f} s", flush=True)
    report(read(arguments), table)


if __name__ == "__main__":
    main()
