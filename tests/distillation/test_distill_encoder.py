"""distill_encoder: students of a teacher's layers, saved for embedders and regressors."""

import shutil

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel

from sklearn_ser import DistilledRegressor, HubertEmbedder, RecordingError
from sklearn_ser.backbones import load_speech_backbone
from sklearn_ser.distillation import _distill_encoder, distill_encoder
from sklearn_ser.distillation._students import SpeechStudent, count_parameters, read_speech_student
from small_networks import small_network

N = 16


@pytest.fixture(scope="module")
def recordings():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, rng.integers(400, 6000)).astype(np.float32) for _ in range(N)]


def distil(teacher, recordings, folder, **parameters):
    quick = {"layers": (1, 3), "max_epochs": 1, "batch_size": 8, "device": "cpu", "random_state": 0}
    return distill_encoder(small_network(teacher), recordings, folder, **quick | parameters)


def weights_of(folder):
    return read_speech_student(folder)[1]


@pytest.mark.slow
def test_a_student_of_the_teachers_first_layers(recordings, tmp_path):
    parameters = {"max_epochs": 4, "learning_rate": 1e-3}
    result = distil("hubert", recordings, tmp_path / "student", **parameters)
    assert result.folder == str(tmp_path / "student")
    assert len(result.loss_curve) == 4
    assert result.loss_curve[-1] < result.loss_curve[0]
    teacher = load_speech_backbone(small_network("hubert"), device="cpu")
    assert result.n_teacher_parameters == count_parameters(teacher)
    student = load_speech_backbone(result.folder, device="cpu")
    assert result.n_parameters == count_parameters(student) < result.n_teacher_parameters
    embedder = HubertEmbedder(result.folder, layers="all")
    assert embedder.fit_transform(recordings[:2]).shape == (2, 3, 32)
    regressor = DistilledRegressor(result.folder, max_epochs=1, hidden_size=4)
    regressor.fit(recordings, np.arange(N))


def test_a_narrow_student(recordings, tmp_path):
    result = distil(
        "hubert-large", recordings, tmp_path, n_student_layers=1, width=16, max_epochs=0
    )
    assert result.loss_curve == []
    settings, _ = read_speech_student(result.folder)
    sizes = settings["config"]["num_hidden_layers"], settings["config"]["hidden_size"]
    assert sizes == (1, 16)


def test_narrow_students_of_whisper_are_fitted_to_recordings(recordings, tmp_path, monkeypatch):
    calls = []
    narrow = SpeechStudent.narrow

    def watch(self, model, features, **where):
        features = list(features)
        calls.append((model, len(features), max(map(len, features))))
        return narrow(self, model, features, **where)

    monkeypatch.setattr(SpeechStudent, "narrow", watch)
    parameters = {"layers": (1,), "n_student_layers": 1, "max_epochs": 0, "max_duration": 0.5}
    distil("whisper", [np.zeros(16000), *recordings], tmp_path / "one", width=16, **parameters)
    assert calls == [(small_network("whisper"), N + 1, 50)]
    distil("whisper", recordings, tmp_path / "two", **parameters)
    assert len(calls) == 1


def test_another_encoder_as_the_student(recordings, tmp_path):
    student = small_network("wavlm")
    result = distil("hubert", recordings, tmp_path, student=student, max_epochs=1)
    before, after = weights_of(student), weights_of(result.folder)
    assert before.keys() == after.keys()
    assert not all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_it_is_repeatable_and_leaves_torch_alone(recordings, tmp_path):
    before = torch.get_rng_state()
    one = weights_of(distil("hubert", recordings, tmp_path / "one").folder)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    with torch.no_grad():
        other = weights_of(distil("hubert", recordings, tmp_path / "other").folder)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_recordings_that_cannot_be_used(recordings, tmp_path):
    bad = [*recordings, np.zeros(0)]
    with pytest.raises(RecordingError, match=f"Recording {N}"):
        distil("hubert", bad, tmp_path / "student")
    assert not (tmp_path / "student").exists()
    with pytest.warns(UserWarning, match=f"left out of training: recording {N}"):
        distil("hubert", bad, tmp_path / "student", on_error="nan")
    assert (tmp_path / "student").exists()


def test_others_take_the_place_of_recordings_that_cannot_be_used(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(_distill_encoder, "_MAX_STANDARDIZED", 2)
    bad = [np.zeros(0), recordings[0], np.zeros(0), recordings[1]]  # the sample: 0 and 2
    with pytest.warns(UserWarning, match="2 recordings can't be used"):
        result = distil("hubert", bad, tmp_path / "some", on_error="nan")
    assert np.isfinite(result.loss_curve).all()
    other = distil("hubert", recordings[:2], tmp_path / "all")
    assert result.loss_curve == pytest.approx(other.loss_curve, rel=0.2)


def test_no_recording_is_longer_than_the_teacher_takes(recordings, tmp_path):
    parameters = {"layers": (1,), "student": small_network("hubert"), "max_duration": 31}
    with pytest.raises(ValueError, match=r"max_duration=31 is too long for teacher='.*30 s"):
        distil("whisper", recordings, tmp_path, **parameters)


def test_the_folder_is_checked_before_training(recordings, tmp_path):
    teacher = shutil.copytree(small_network("hubert"), tmp_path / "teacher")
    with pytest.raises(ValueError, match="is that of teacher=: pass another folder"):
        distill_encoder(teacher, recordings, teacher, layers=(1,), max_epochs=0)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file: pass a folder"):
        distil("hubert", recordings, tmp_path / "file")


def test_without_epochs_layers_are_ignored(recordings, tmp_path):
    assert distil("hubert", recordings, tmp_path, layers=(99,), max_epochs=0).loss_curve == []


def test_missing_files_are_found_before_training(recordings, tmp_path):
    with pytest.raises(RecordingError, match=r"'no\.wav': there is no such file"):
        distil("hubert", [*recordings, "no.wav"], tmp_path, max_epochs=0)


def test_a_table_of_waveforms(tmp_path):
    table = np.random.default_rng(0).normal(0, 0.1, (4, 2000))
    assert len(distil("hubert", table, tmp_path).loss_curve) == 1
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        distil("hubert", table[:0], tmp_path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"layers": (4, 8, 12)}, r"layers=\(4, 8, 12\) must be some of the layers 0 to 3"),
        ({"layers": []}, r"layers=\[\] names no layer"),
        ({"n_student_layers": 4}, "n_student_layers=4 must be from 1 to the 3"),
        ({"width": 24}, "width=24 must be a multiple of 16"),
        ({"max_epochs": -1}, "'max_epochs' parameter"),
    ],
)
def test_parameters_that_cannot_be(recordings, tmp_path, parameters, message):
    with pytest.raises(ValueError, match=message):
        distil("hubert", recordings, tmp_path, **parameters)


def test_a_student_of_another_frame_rate_is_refused(recordings, tmp_path):
    config = HubertConfig.from_pretrained(
        small_network("hubert"), conv_stride=(5, 2, 2, 2, 2, 2, 4)
    )
    HubertModel(config).save_pretrained(tmp_path / "slow")
    with pytest.raises(
        ValueError, match=r"The stride of teacher=.* is 320, that of the student 640"
    ):
        distil("hubert", recordings, tmp_path / "student", student=tmp_path / "slow")


def test_a_model_that_is_not_at_hand_is_named_by_its_parameter(recordings, tmp_path):
    with pytest.raises(OSError, match="teacher='path/to/folder'"):
        distill_encoder("owner/absent", recordings, tmp_path, local_files_only=True)
    with pytest.raises(OSError, match="student='path/to/folder'"):
        distil("hubert", recordings, tmp_path, student="owner/absent", local_files_only=True)
