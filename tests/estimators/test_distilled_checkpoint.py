"""Checkpoints of encoders that are trained: killed, continued to the same bits, or refused."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from transformers import HubertConfig, HubertModel

from sklearn_ser import DistilledClassifier, DistilledRegressor
from small_networks import small_network
from small_text_networks import small_text_network

N = 12
QUICK = {
    "hidden_size": 16,
    "max_epochs": 3,
    "batch_size": 4,
    "device": "cpu",
    "max_duration": 0.1,
    "encoder_learning_rate": 1e-3,
    "random_state": 0,
}


@pytest.fixture
def few(recordings):
    """Return a dozen recordings, the longer of which are cropped."""
    return recordings[::2]


EMOTIONS = np.array(["anger", "joy", "sadness"] * (N // 3))
LOUDNESS = np.linspace(-1, 1, N)


def classifier(**parameters):
    return DistilledClassifier(small_network("wavlm-short"), **QUICK | parameters)


def assert_same(one, other):
    assert one.history_ == other.history_
    assert one.state_.keys() == other.state_.keys()
    for name, values in one.state_.items():
        np.testing.assert_array_equal(other.state_[name], values)


@pytest.mark.parametrize(
    "parameters",
    [
        {
            "early_stopping": True,
            "validation_fraction": 0.25,
            "pooling": "attentive_statistics",
            "layer_decay": 0.5,
        },
        {"lora_rank": 2},
        pytest.param({"gradient_checkpointing": True, "freeze": None}, marks=pytest.mark.slow),
    ],
)
def test_it_continues_to_the_same_bits(few, tmp_path, interrupt, parameters):
    whole = classifier(**parameters).fit(few, EMOTIONS)
    interrupt(classifier(checkpoint=tmp_path, **parameters), few, EMOTIONS, 1)
    continued = classifier(checkpoint=str(tmp_path), n_jobs=2, **parameters)
    assert_same(whole, continued.fit(few, EMOTIONS))
    np.testing.assert_array_equal(continued.predict_proba(few), whole.predict_proba(few))
    assert continued.n_trainable_parameters_ == whole.n_trainable_parameters_


def test_recordings_that_cannot_be_used_stay_out(few, tmp_path, interrupt):
    """Also where batches of the first epoch hold nothing else."""
    few = [np.zeros(0) if row % 4 == 1 else recording for row, recording in enumerate(few)]
    few[-1] = 100 * few[-1]
    settings = {"on_error": "nan", "batch_size": 1}
    with pytest.warns(UserWarning, match="can't be used|should be checked") as expected:
        whole = classifier(**settings).fit(few, EMOTIONS)
    interrupt(classifier(checkpoint=tmp_path, **settings), few, EMOTIONS, 1)
    with pytest.warns(UserWarning, match="can't be used|should be checked") as found:
        continued = classifier(checkpoint=tmp_path, **settings).fit(few, EMOTIONS)
    assert len(expected) == 2
    assert [str(w.message) for w in found] == [str(w.message) for w in expected]
    assert_same(whole, continued)


def test_the_seeds_are_those_of_the_checkpoint(few, tmp_path, interrupt):
    interrupted = classifier(checkpoint=tmp_path, random_state=None)
    interrupt(interrupted, few, EMOTIONS, 1)
    continued = classifier(checkpoint=tmp_path, random_state=None).fit(few, EMOTIONS)
    whole = classifier()
    whole._seeds, whole._draw_seed = {}, interrupted._seeds.get
    assert_same(whole.fit(few, EMOTIONS), continued)


class Peak(RegressorMixin, BaseEstimator):
    """Predicts the peak of a recording."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.array([np.abs(x).max() for x in X["path"]])


@pytest.mark.slow
def test_transcripts_a_teacher_and_unlabelled_recordings(few, tmp_path, interrupt):
    table = pd.DataFrame({"path": few, "transcript": ["no", None, "I am so happy", "yes"] * 3})
    extra, settings = table.iloc[:4], QUICK | {"text_model": small_text_network("bert")}

    def regressor(**parameters):
        parameters = settings | {"teacher": Peak(), "fusion": "cross_attention"} | parameters
        return DistilledRegressor(small_network("wavlm-short"), **parameters)

    whole = regressor().fit(table, LOUDNESS, unlabeled=extra)
    interrupt(regressor(checkpoint=tmp_path), table, LOUDNESS, 2, unlabeled=extra)
    refused = [
        (table, extra.iloc[1:], "other number of recordings and unlabeled recordings"),
        (table.assign(transcript="no"), extra, "other transcripts"),
    ]
    for X, unlabeled, message in refused:
        with pytest.raises(ValueError, match=message):
            regressor(checkpoint=tmp_path).fit(X, LOUDNESS, unlabeled=unlabeled)
    continued = regressor(checkpoint=tmp_path).fit(table, LOUDNESS, unlabeled=extra)
    assert_same(whole, continued)
    assert continued.teacher_.fitted_


KILLED = """
import os, signal, sys
import soundfile
from sklearn_ser import DistilledClassifier

log, model, folder, *paths = sys.argv[1:]
open_file, n_opened = soundfile.SoundFile, []

def watch(file):
    n_opened.append(1)
    if len(n_opened) == 3 * len(paths) // 2 + 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(log, "a") as lines:
        lines.write(os.fsdecode(file) + "\\n")
    return open_file(file)

soundfile.SoundFile = watch
DistilledClassifier(model, checkpoint=folder, **{settings}).fit(paths, {emotions})
"""


def test_a_killed_process_is_continued_by_another(few, tmp_path, monkeypatch):
    """It is killed in the second epoch, and each file is read once in each of the others."""
    paths = [str(tmp_path / f"{row}.wav") for row in range(N)]
    for path, recording in zip(paths, few, strict=True):
        soundfile.write(path, recording, 16000, subtype="FLOAT")
    log, folder = tmp_path / "log", tmp_path / "checkpoint"
    code = KILLED.replace("{settings}", repr(QUICK)).replace("{emotions}", repr(EMOTIONS.tolist()))
    code = f"import torch\ntorch.set_num_threads({torch.get_num_threads()})\n{code}"
    arguments = [log, small_network("wavlm-short"), folder, *paths]
    process = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], timeout=300)
    assert process.returncode == -signal.SIGKILL
    reads = Counter(log.read_text().splitlines())
    assert reads.keys() == {*paths}
    assert reads.total() == 3 * N // 2

    read, open_file = [], soundfile.SoundFile
    monkeypatch.setattr(
        soundfile, "SoundFile", lambda file: read.append(os.fsdecode(file)) or open_file(file)
    )
    continued = classifier(checkpoint=folder).fit(paths, EMOTIONS)
    assert sorted(read) == sorted(paths * 2)
    assert_same(classifier().fit(paths, EMOTIONS), continued)
    Path(paths[3]).touch()
    with pytest.raises(ValueError, match="other recordings or their paths, sizes or times"):
        classifier(checkpoint=folder).fit(paths, EMOTIONS)


def test_other_weights_under_the_same_name_are_refused(few, tmp_path, interrupt):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4}
    model = HubertModel(HubertConfig(num_conv_pos_embedding_groups=2, **sizes))
    model.save_pretrained(tmp_path / "model")
    settings = QUICK | {"checkpoint": tmp_path / "checkpoint"}
    interrupt(DistilledClassifier(tmp_path / "model", **settings), few, EMOTIONS, 1)
    model.encoder.layers[0].final_layer_norm.bias.data += 1
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="other pretrained weights"):
        DistilledClassifier(tmp_path / "model", **settings).fit(few, EMOTIONS)
