"""Small encoders distilled from the layers of a large one."""

import os
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from sklearn.utils import Bunch, check_array, check_random_state

from sklearn_ser._sklearn import Interval, StrOptions, validate_params
from sklearn_ser.audio import (
    SAMPLING_RATES,
    ErrorCollector,
    as_recordings,
    check_table,
    is_table,
    scale_pcm,
)
from sklearn_ser.backbones import choose_device, choose_dtype, load_speech_backbone
from sklearn_ser.layers import resolve_layers
from sklearn_ser.nn import LayerPredictor, Standardization
from sklearn_ser.training import Progress, Samples, TrainingContext

from ._speech_inputs import Reader, SpeechInputs
from ._students import SpeechStudent, check_duration, count_parameters, read_speech_student

# As DistilHuBERT was trained.
_WARMUP, _MAX_GRADIENT = 0.07, 5.0
# Number of recordings by whose frames the teacher's layers are standardised.
_MAX_STANDARDIZED = 50
# Layers of the teacher are kept in memory, in half precision, up to this number of bytes.
_CACHE_BYTES = 2 * 1024**3


@validate_params(
    {
        "teacher": [str, os.PathLike],
        "folder": [str, os.PathLike],
        "student": [str, os.PathLike, None],
        "layers": ["array-like"],
        "n_student_layers": [Interval(Integral, 1, None, closed="left")],
        "width": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_duration": [Interval(Real, 0, None, closed="neither")],
        "sampling_rate": [Interval(Integral, *SAMPLING_RATES, closed="both")],
        "channel": [Integral, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "local_files_only": ["boolean"],
        "device": [str],
        "dtype": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def distill_encoder(
    teacher,
    recordings,
    folder,
    *,
    student=None,
    layers=(4, 8, 12),
    n_student_layers=2,
    width=None,
    max_epochs=10,
    batch_size=32,
    learning_rate=2e-4,
    max_duration=15.0,
    sampling_rate=16000,
    channel=None,
    on_error="raise",
    local_files_only=False,
    device="auto",
    dtype="float32",
    random_state=None,
    n_jobs=None,
    verbose=0,
):
    """Distil a small speech encoder from a large one, without labels, and save it.

    The student is made of the first layers of the teacher, or is another encoder. Linear heads on
    its last layer are trained to predict several layers of the teacher, as in DistilHuBERT [1]_;
    the heads are then discarded.

    Parameters
    ----------
    teacher : str or path
        Large encoder: a hub id, such as "facebook/hubert-large-ll60k", or a folder. An encoder of
        the wav2vec 2.0 family (HuBERT, WavLM, wav2vec 2.0, …) or of Whisper.
    recordings : sequence of recordings, or array-like of shape (n_recordings, n_samples)
        Recordings to train on, as the embedders take them.
    folder : str or path
        Folder in which the student is saved, in the format of transformers. It is created if it
        does not exist, and must not be that of the teacher.
    student : str or path, default=None
        Encoder to train: a hub id or a folder. If None, it is made of the first
        `n_student_layers` of the teacher.
    layers : tuple of int, default=(4, 8, 12)
        Layers of the teacher to predict. Layer 0 is the input of the first transformer block.
        Ignored if `max_epochs` is 0.
    n_student_layers : int, default=2
        Number of the teacher's transformer blocks that the student keeps. Ignored if `student`
        is given.
    width : int, default=None
        Size of the student's hidden states; at most that of the teacher, which is used if None.
        Narrower students of Whisper are initialised by least squares on the teacher's layers,
        others by a slice of its weights. Ignored if `student` is given.
    max_epochs : int, default=10
        Number of epochs. If 0, the student is saved as it is initialised.
    batch_size : int, default=32
        Number of recordings of a batch.
    learning_rate : float, default=0.0002
        Highest learning rate of AdamW. It increases over 7 % of the steps, and then decays to zero
        along half a cosine.
    max_duration : float, default=15.0
        Duration in seconds to which longer recordings are cropped, at random in each epoch.
    sampling_rate : int, default=16000
        Sampling rate of arrays that come without one, in Hz.
    channel : int, default=None
        Channel to use. If None, channels are averaged.
    on_error : {"raise", "nan"}, default="raise"
        "raise" raises an error for a recording that cannot be used. "nan" leaves such recordings
        out, and lists them in one warning.
    local_files_only : bool, default=False
        If True, models of a hub are only looked up on this machine.
    device : str, default="auto"
        Device to train on, such as "cpu" or "cuda:1". "auto" is a CUDA GPU if there is one, else
        the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of autocast in training. Weights are kept in float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    random_state : int, RandomState instance or None, default=None
        Seed of the heads' weights, the order of the recordings and the crops.
    n_jobs : int, default=None
        Number of threads that decode recordings, as in `joblib.Parallel`.
    verbose : int, default=0
        If nonzero, the loss of each epoch is printed, and a progress bar is shown in a terminal or
        notebook; both with the time left.

    Returns
    -------
    result : `~sklearn.utils.Bunch`
        Dictionary-like object with the following attributes.

        folder : str
            The folder. It is a value of ``DistilledRegressor(audio_model=…)`` and a model of
            `HubertEmbedder`, `WavLMEmbedder` or `WhisperEmbedder`. A student of Whisper is trained
            on recordings of their own length: use it with ``context="recording"``.
        loss_curve : list of float
            Training loss of each epoch.
        n_parameters, n_teacher_parameters : int
            Number of parameters of both encoders.

    Raises
    ------
    RecordingError
        If a recording cannot be used, unless ``on_error="nan"``.
    NotADirectoryError
        If `folder` is a file.
    ValueError
        If the teacher has no such layer, the student cannot have this size, or the frames of both
        differ in rate.

    See Also
    --------
    sklearn_ser.DistilledRegressor : Train an encoder end to end on arousal, valence and dominance.
    sklearn_ser.ConcordanceRegressor : Train a head on the frozen encoder.

    Notes
    -----
    The layers of the teacher are standardised, dimension by dimension: those of Whisper have a
    common offset ten times as large as the differences between recordings.

    References
    ----------
    .. [1] H.-J. Chang, S. Yang, H. Lee, "DistilHuBERT: Speech Representation Learning by
       Layer-wise Distillation of Hidden-unit BERT", ICASSP 2022, arXiv 2110.01900.

    Examples
    --------
    A small teacher with random weights stands in for a pretrained one:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser.distillation import distill_encoder
    >>> from transformers import HubertConfig, HubertModel
    >>> teacher = tempfile.mkdtemp()
    >>> small = HubertConfig(
    ...     hidden_size=24, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    ... )
    >>> HubertModel(small).save_pretrained(teacher)
    >>> rng = np.random.default_rng(0)
    >>> recordings = [rng.normal(scale=0.1, size=4000) for _ in range(8)]
    >>> result = distill_encoder(
    ...     teacher, recordings, tempfile.mkdtemp(), layers=(2, 4), max_epochs=2, random_state=0
    ... )
    >>> len(result.loss_curve), result.n_parameters < result.n_teacher_parameters
    (2, True)
    """
    recordings = _check_recordings(recordings)
    _check_folder(folder, teacher, student)
    device = choose_device(device)
    where = {"local_files_only": local_files_only}
    if student is None:
        settings, weights = read_speech_student(
            teacher, n_layers=n_student_layers, width=width, parameter="teacher", **where
        )
    else:
        settings, weights = read_speech_student(student, parameter="student", **where)
    network = SpeechStudent(settings)
    network.load_state_dict(weights)
    backbone = load_speech_backbone(teacher, device=device, parameter="teacher", **where)
    rng = check_random_state(random_state)
    seed, crop_seed = rng.randint(np.iinfo(np.int32).max, size=2)
    problems = ErrorCollector(on_error)
    problems.add_missing(recordings)
    inputs = SpeechInputs(
        recordings,
        Reader(network.front_end, sampling_rate=sampling_rate, channel=channel, n_jobs=n_jobs),
        max_seconds=check_duration(max_duration, network.front_end),
        rng=np.random.default_rng(crop_seed),
        problems=problems,
    )
    if max_epochs:
        inputs.teacher = make_teacher(backbone, layers, network.front_end, teacher)
        check_duration(max_duration, backbone, f"teacher={str(teacher)!r}")
    if student is None and width is not None:
        network.narrow(teacher, inputs.sample_features(np.arange(len(inputs))), **where)
    loss_curve = []
    if max_epochs:
        loss_curve = _predict_layers(
            network,
            inputs,
            seed=int(seed),
            verbose=verbose,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            dtype=choose_dtype(dtype, device),
            device=device,
        )
    inputs.warn_skipped()
    network.save(folder)
    return Bunch(
        folder=os.fspath(folder),
        loss_curve=loss_curve,
        n_parameters=count_parameters(network),
        n_teacher_parameters=count_parameters(backbone),
    )


def _check_recordings(recordings):
    if is_table(recordings):
        dtype = check_table(recordings)
        table = check_array(recordings, dtype=np.float32, ensure_all_finite=False)
        return scale_pcm(table, dtype)
    return as_recordings(recordings)


def _check_folder(folder, teacher, student):
    path = Path(folder).resolve()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"folder={str(folder)!r} is a file: pass a folder.")
    for name, model in {"teacher": teacher, "student": student}.items():
        if model is not None and os.path.isdir(model) and path == Path(model).resolve():
            raise ValueError(f"folder={str(folder)!r} is that of {name}=: pass another folder.")


def make_teacher(backbone, layers, student, teacher):
    """Check the layers that a student is to predict.

    Parameters
    ----------
    backbone : Backbone
        The teacher.
    layers : sequence of int
        Layers to predict.
    student : SpeechFeatures
        Front end of the student, whose frame rate must be that of the teacher.
    teacher : str or path
        Name of the teacher, for error messages.

    Returns
    -------
    teacher : TeacherLayers
    """
    wanted = resolve_layers(
        list(dict.fromkeys(np.ravel(layers).tolist())),
        backbone.n_layers,
        parameter="layers",
        explain=lambda layer: ValueError(
            f"layers={layers!r} must be some of the layers 0 to {backbone.n_layers - 1} "
            f"of teacher={teacher!r}."
        ),
        negative=False,
    )
    for name in ("sampling_rate", "stride"):
        if getattr(backbone, name) != getattr(student, name):
            raise ValueError(
                f"The {name} of teacher={teacher!r} is {getattr(backbone, name)}, that of the "
                f"student {getattr(student, name)}, so that their frames do not match. Choose "
                "another teacher, or student=None."
            )
    return TeacherLayers(backbone, sorted(wanted))


class TeacherLayers:
    """Compute standardised layers of a frozen encoder, and cache them in memory.

    Parameters
    ----------
    backbone : Backbone
        The teacher.
    layers : sequence of int
        Layers to return.
    """

    def __init__(self, backbone, layers):
        self.backbone, self.layers = backbone, list(layers)
        self.cache: dict[int, torch.Tensor] = {}
        self.n_bytes = 0
        self.scaler = Standardization((len(self.layers), backbone.n_dims))

    def fit_scaler(self, inputs):
        """Fit the mean and standard deviation of each dimension on a sample of recordings."""
        scaler = Standardization(self.scaler.mean.shape)
        for batch in inputs.sample(np.arange(len(inputs)), _MAX_STANDARDIZED):
            scaler.partial_fit(batch["teacher"])  # not standardised yet
        self.scaler = scaler

    def prepare(self, waveform):
        """Apply the teacher's own preprocessing to a whole recording."""
        return self.backbone.prepare(waveform)

    def layers_of(self, position, prepared, is_whole):
        """Return the layers of a part of a recording, of shape (n_frames, n_layers, n_dims)."""
        return self.scaler(self._compute(position, prepared, is_whole))

    def _compute(self, position, prepared, is_whole):
        if position in self.cache:
            return self.cache[position].float()
        missing = self.backbone.min_samples - len(prepared)
        if missing > 0:
            prepared = np.pad(prepared, (0, missing))
        hidden_states = self.backbone.encode([prepared], max(self.layers))
        wanted = [states[0] for layer, states in enumerate(hidden_states) if layer in self.layers]
        layers = torch.stack(wanted, dim=1).float().cpu()
        if is_whole and self.n_bytes + 2 * layers.numel() <= _CACHE_BYTES:
            self.cache[position] = layers.half()
            self.n_bytes += 2 * layers.numel()
        return layers


def _predict_layers(student, inputs, *, seed, verbose, learning_rate, **config):
    """Train a student in place to predict the layers of a teacher; return the loss curve."""
    from sklearn_ser.training._loop import TrainingConfig, train

    teacher = inputs.teacher
    teacher.fit_scaler(inputs)
    context = TrainingContext(seed, config["device"])
    with context.initializing():
        module = LayerPredictor(student, teacher.backbone.n_dims, len(teacher.layers))
    losses: list[float] = []
    with Progress(len(inputs), config["max_epochs"], verbose=verbose) as progress:
        curves = train(
            module,
            TrainingConfig(
                loss=lambda outputs, targets: outputs.mean(),
                optimizer=lambda module: torch.optim.AdamW(
                    module.parameters(), learning_rate, fused=True
                ),
                warmup=_WARMUP,
                max_gradient=_MAX_GRADIENT,
                report=progress.update,
                **config,
            ),
            Samples(inputs, np.zeros((len(inputs), 1), dtype=np.float32), np.arange(len(inputs))),
            rng=np.random.default_rng(seed),
            context=context,
        )
        for epoch, curve in enumerate(curves, 1):
            losses.append(curve["train_loss"])
            progress.end_epoch({"epoch": [epoch], "train_loss": losses})
            if not np.isfinite(losses[-1]):
                raise ValueError(
                    f"The distillation loss is not finite: lower learning_rate={learning_rate}, or "
                    "look for recordings that are far louder than the others."
                )
    student.cpu()
    return losses
