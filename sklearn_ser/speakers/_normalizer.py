"""SpeakerNormalizer: remove the level of each speaker from representations."""

from numbers import Integral

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from sklearn_ser._pickles import Estimator
from sklearn_ser._sklearn import (
    HasMethods,
    Interval,
    check_feature_names_in,
    fit_context,
    is_data_frame_requested,
)
from sklearn_ser._warnings import warn

from ._columns import split_speakers
from ._statistics import (
    Population,
    Summary,
    combine,
    describe_population,
    frame_means,
    remove_level,
    summarize,
)

_THREE_AXES = "The output of SpeakerNormalizer has three axes, and"
_REMEDY = "Use flatten=True of the embedder"


class SpeakerNormalizer(TransformerMixin, Estimator):
    """Remove the level of each speaker from embeddings, layers or spectrograms.

    The speaker accounts for about as much of the variance of embeddings as the emotion does. The
    transformer subtracts the difference between the mean of a speaker and the mean of all training
    speakers. The mean of a new speaker is estimated from recordings without labels, and is shrunk
    towards that of the training speakers (empirical Bayes), so that a few recordings are enough to
    gain.

    scikit-learn does not pass groups to `predict` in `cross_val_predict` or in scorers. The speaker
    of each recording is therefore a column of `X`, next to the recordings or features. The
    transformer that embeds the recordings is wrapped, since its output has no such column.

    This is adaptation with unlabelled recordings of the test speakers. Report its scores as such,
    next to those without.

    Parameters
    ----------
    transformer : transformer, default=None
        Transformer of the recordings, such as an embedder or `LogMelSpectrogram`. None takes
        features: a table with a column of speakers, or an array with `groups`.
    speaker : str or int, default=None
        Name or position of the column of speakers. None finds the column of a data frame by its
        name, such as "speaker" or "actor"; arrays need a position.
    recording : str, default=None
        Name of the column of recordings. None finds it by its name, such as "recording" or "path".
        Columns of starts and ends of segments are used if present, and all others are ignored. A
        `ColumnTransformer` gets all columns except the speakers. Without `transformer`, all
        columns except the speakers are features.
    scale : bool, default=False
        Whether to divide by the standard deviation of the speaker too, relative to that of the
        training speakers.
    n_enrollment : int, default=None
        Number of recordings from which the mean of a new speaker is estimated, the first in the
        order of `X`. None uses all recordings in the call. 0 leaves new speakers unchanged, unless
        they are enrolled by `enroll`.
    time_axis : int, default=None
        Axis of the frames, for spectrograms: -1 removes the mean spectrum of the speaker, over all
        frames of the speaker's recordings. Padding counts as frames.

    Attributes
    ----------
    transformer_ : transformer or None
        Fitted transformer.
    speakers_ : dict
        Statistics of the speakers of the training set and of enrolled ones, by speaker. Each is a
        dict of the number of recordings ``n_recordings``, their ``mean``, the sum of the squared
        deviations ``scatter``, and the ``frame_variance`` within a recording, 0 without
        `time_axis`.
    population_ : dict or None
        Statistics of all training speakers: ``mean``, ``between_variance`` of the speakers' means,
        ``within_variance`` of the recordings of a speaker, ``total_variance`` of recordings and
        frames, and ``scale_variance``, the variance over speakers of their relative total
        variance. None if there are too few speakers.
    row_shape_ : tuple of int
        Shape of an output row, without `time_axis`.
    speaker_position_ : int or None
        Position of the column of speakers in `fit`. None if there was none.
    n_features_in_ : int
        Number of columns of `X`, with the speakers. Only defined without `transformer`, if `X` was
        a table.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they are str.

    See Also
    --------
    sklearn.preprocessing.StandardScaler : Removes the mean over all recordings.

    Notes
    -----
    *Shrinkage.* For each feature, with the variance of the training speakers' means τ², and the
    variance of the recordings of a speaker σ², the mean of k recordings has the weight
    τ² / (τ² + σ² / k). Without recordings, the output is the input; with many, the mean is removed
    completely. The recordings of a speaker may be less diverse than those of the training
    speakers, for example all neutral. Then, σ² / k is replaced by (1 - r) σ² + r σ² / k, with the
    ratio r ≤ 1 of the variance of the recordings to σ², averaged over features. The standard
    deviation with `scale` is shrunk similarly, and hardly changed by recordings that hardly differ.
    It needs some ten recordings of several emotions.

    *Which recordings.* Labels are not used. The statistics of speakers in the training set, and
    of enrolled ones, are kept, and their rows do not depend on other rows. For other speakers, they
    are computed from the rows of the same call: predict all recordings of a speaker at once, or
    enroll the speaker. Recordings whose speaker is missing (None or NaN) remain unchanged.
    Names must identify speakers across corpora: "01" of one corpus and "01" of another are the same
    speaker.

    *Missing rows.* Rows with NaN, which embedders return for recordings that can't be used, are
    ignored in the statistics and remain NaN.

    *Groups.* If `X` is a list of recordings, or an array, pass the speakers as `groups`. With
    ``sklearn.set_config(enable_metadata_routing=True)``, the methods `fit` and `predict` of a
    Pipeline pass `groups` on. It is ignored if `X` has a column of speakers.

    References
    ----------
    B. Efron, C. Morris, "Stein's Estimation Rule and Its Competitors - An Empirical Bayes
    Approach", Journal of the American Statistical Association 68, 1973.

    C. Busso, S. Mariooryad, A. Metallinou, S. Narayanan, "Iterative Feature Normalization Scheme
    for Automatic Emotion Detection from Speech", IEEE Transactions on Affective Computing 4(4),
    2013.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_ser import SpeakerNormalizer
    >>> rng = np.random.default_rng(0)
    >>> speakers = np.repeat(["03", "08", "09", "10"], 25)
    >>> level = np.repeat([-20.0, 10.0, 0.0, 30.0], 25)
    >>> table = pd.DataFrame({"speaker": speakers, "loudness": level + rng.normal(size=100)})
    >>> normalizer = SpeakerNormalizer().set_output(transform="pandas")
    >>> normalized = normalizer.fit_transform(table)
    >>> normalized.groupby(speakers).mean()["loudness"].round(1).tolist()
    [5.1, 5.1, 5.1, 5.1]
    >>> new = pd.DataFrame({"speaker": ["11", "11", None], "loudness": [80.0, 82.0, 80.0]})
    >>> normalizer.transform(new).round(1)["loudness"].tolist()
    [4.2, 6.2, 80.0]

    In a pipeline, the input is a table of recordings and speakers:

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_ser import LogMelSpectrogram
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(n_speakers=3, n_sentences=2, random_state=0)
    >>> recordings = pd.DataFrame({"recording": corpus.recordings, "speaker": corpus.groups})
    >>> pipeline = make_pipeline(
    ...     SpeakerNormalizer(LogMelSpectrogram(n_mels=20, pooling="mean_std", normalize=None)),
    ...     LogisticRegression(max_iter=1000),
    ... )
    >>> scores = cross_val_score(
    ...     pipeline, recordings, corpus.target, groups=corpus.groups, cv=LeaveOneGroupOut()
    ... )
    >>> scores.shape
    (3,)
    """

    _parameter_constraints: dict = {
        "transformer": [HasMethods(["fit", "transform"]), None],
        "speaker": [str, Integral, None],
        "recording": [str, None],
        "scale": ["boolean"],
        "n_enrollment": [Interval(Integral, 0, None, closed="left"), None],
        "time_axis": [Integral, None],
    }
    # Groups are requested by default, in a pipeline with metadata routing.
    __metadata_request__fit = {"groups": True}
    __metadata_request__transform = {"groups": True}

    def __init__(
        self,
        transformer=None,
        *,
        speaker=None,
        recording=None,
        scale=False,
        n_enrollment=None,
        time_axis=None,
    ):
        self.transformer = transformer
        self.speaker = speaker
        self.recording = recording
        self.scale = scale
        self.n_enrollment = n_enrollment
        self.time_axis = time_axis

    def fit(self, X, y=None, groups=None):
        """Fit the transformer, and estimate the statistics of the speakers.

        Parameters
        ----------
        X : DataFrame, sequence of recordings, or array-like of shape (n_recordings, ...)
            Recordings or features, and in a table also the speakers.
        y : array-like of shape (n_recordings,), default=None
            Only passed to the `fit` of `transformer`.
        groups : array-like of shape (n_recordings,), default=None
            Speakers, None for unknown ones. Required if `X` has no column of speakers.

        Returns
        -------
        self : object
            Fitted transformer.

        Raises
        ------
        ValueError
            If there are no speakers, or the output of `transformer` has an unsupported shape.

        Warns
        -----
        UserWarning
            If there are fewer than two speakers, or none has two recordings. The variances cannot
            be estimated, and the output is the input.
        """
        self.fit_transform(X, y, groups)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X, y=None, groups=None):
        """Fit, and transform the same recordings. Each is embedded once.

        Parameters
        ----------
        X : DataFrame, sequence of recordings, or array-like of shape (n_recordings, ...)
            As in `fit`.
        y : array-like of shape (n_recordings,), default=None
            As in `fit`.
        groups : array-like of shape (n_recordings,), default=None
            As in `fit`.

        Returns
        -------
        X_out : ndarray of shape (n_recordings, ...)
            As in `transform`.
        """
        self.__dict__.pop("population_", None)  # a fit that fails leaves nothing to transform with
        table = self._split(X, groups, reset=True)
        self.speaker_position_ = table.position
        self.transformer_ = None if self.transformer is None else clone(self.transformer)
        if self.transformer_ is None:
            rows = table.values
        elif hasattr(self.transformer_, "fit_transform"):
            rows = self.transformer_.fit_transform(table.values, y)
        else:
            rows = self.transformer_.fit(table.values, y).transform(table.values)
        rows = self._check_rows(rows, table)
        self.row_shape_ = frame_means(rows[:1], self.time_axis).shape[1:]
        self.speakers_ = self._summarize(rows, table)
        population = describe_population([Summary(**s) for s in self.speakers_.values()])
        self.population_ = None if population is None else population._asdict()
        if population is None:
            n_missing = int(np.isnan(rows.reshape(len(rows), -1)).any(axis=1).sum())
            warn(
                f"X has recordings of {len(self.speakers_)} known speakers, without the "
                f"{n_missing} rows that contain NaN. SpeakerNormalizer needs at least two, one of "
                "them with two recordings, and returns its input."
            )
        return self._normalize(rows, table)

    def transform(self, X, groups=None):
        """Transform recordings, and remove the level of each speaker.

        Parameters
        ----------
        X : DataFrame, sequence of recordings, or array-like of shape (n_recordings, ...)
            As in `fit`.
        groups : array-like of shape (n_recordings,), default=None
            Speakers, None for unknown ones. Required if `X` has no column of speakers.

        Returns
        -------
        X_out : ndarray of shape (n_recordings, ...)
            Output of `transformer`, or the features without the column of speakers, normalized.
        """
        check_is_fitted(self)
        self._validate_params()
        table = self._split(X, groups, reset=False)
        return self._normalize(self._embed(table), table)

    def enroll(self, X, speakers=None):
        """Add recordings of speakers, whose statistics are kept for `transform`.

        Later calls of `transform` use them instead of the recordings of the call, so that single
        recordings can be predicted. Recordings of known speakers are added to their earlier ones.

        Parameters
        ----------
        X : DataFrame, sequence of recordings, or array-like of shape (n_recordings, ...)
            Recordings or features, as in `fit`. No labels are needed; they should be as diverse as
            the recordings to predict.
        speakers : array-like of shape (n_recordings,), default=None
            Speakers. Required if `X` has no column of speakers.

        Returns
        -------
        self : object
            The transformer.
        """
        check_is_fitted(self)
        table = self._split(X, speakers, reset=False)
        if self.population_ is None:
            warn(
                "In fit there were too few speakers, so SpeakerNormalizer returns its input also "
                "for enrolled speakers."
            )
        enrolled = self._summarize(self._embed(table), table)
        for speaker, summary in enrolled.items():
            known = self.speakers_.get(speaker)
            if known is not None:
                summary = combine(Summary(**known), Summary(**summary))._asdict()
            self.speakers_[speaker] = summary
        return self

    def get_feature_names_out(self, input_features=None):
        """Get the names of the columns of the output.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of `X`. Only used without `transformer`.

        Returns
        -------
        feature_names_out : ndarray of str objects
            Those of `transformer`, or of the columns of `X` except the speakers.
        """
        check_is_fitted(self)
        if self.transformer_ is not None:
            return self.transformer_.get_feature_names_out()
        if len(self.row_shape_) + (self.time_axis is not None) > 1:
            raise ValueError(f"{_THREE_AXES} no columns to name. {_REMEDY}.")
        names = check_feature_names_in(self, input_features)
        return np.delete(names, [] if self.speaker_position_ is None else self.speaker_position_)

    def _split(self, X, groups, *, reset):
        """Return the recordings or features, and the speakers."""
        transformer = self.transformer if reset else self.transformer_
        if transformer is None:
            is_frame = hasattr(X, "columns")
            if not is_frame:
                X = check_array(
                    X, dtype=None, allow_nd=True, ensure_all_finite="allow-nan", estimator=self
                )
            if reset:
                self.__dict__.pop("n_features_in_", None)
            ensure_2d = is_frame or X.ndim == 2
            validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=ensure_2d)
        table = split_speakers(
            X,
            groups,
            speaker=self.speaker,
            recording=self.recording,
            takes_columns=transformer is None or _selects_columns(transformer),
        )
        if not reset:
            self._check_kind_of_speakers(table.speakers)
        return table

    def _check_kind_of_speakers(self, speakers):
        """Warn if speakers are text where those of `fit` are numbers, or the reverse."""
        are_text = [
            {isinstance(name, str) for name in names} for names in (speakers, self.speakers_)
        ]
        if all(are_text) and are_text[0].isdisjoint(are_text[1]):
            warn(
                f"The speakers are of another type than in fit, such as {speakers[0]!r} compared "
                f"with {next(iter(self.speakers_))!r}: they are taken as other speakers."
            )

    def _embed(self, table):
        rows = table.values
        if self.transformer_ is not None:
            rows = self.transformer_.transform(rows)
        rows = self._check_rows(rows, table)
        shape = frame_means(rows[:1], self.time_axis).shape[1:]
        if shape != self.row_shape_:
            raise ValueError(f"Rows have shape {shape}, but {self.row_shape_} in fit.")
        return rows

    def _check_rows(self, rows, table):
        rows = check_array(
            rows,
            dtype=[np.float64, np.float32],
            allow_nd=True,
            ensure_all_finite="allow-nan",
            estimator=self,
            input_name="X",
        )
        check_consistent_length(rows, table.codes)
        axis = self.time_axis
        if axis is not None and (rows.ndim < 3 or axis not in {1, 2, -1, -2}):
            raise ValueError(
                f"time_axis={axis} is no axis of frames of spectrograms of shape {rows.shape}: it "
                "must be 1, 2, -1 or -2, and there must be three axes."
            )
        if rows.ndim > 2 and is_data_frame_requested(self):
            raise ValueError(
                f"{_THREE_AXES} a data frame has two. {_REMEDY}, or "
                "set_output(transform='default')."
            )
        return rows

    def _summarize(self, rows, table):
        """Return the statistics of each known speaker, as in `speakers_`."""
        summaries = {}
        for code, speaker in enumerate(table.speakers):
            summary = summarize(rows[table.codes == code], self.time_axis)
            if summary is not None:
                summaries[speaker] = summary._asdict()
        return summaries

    def _normalize(self, rows, table):
        """Return the rows without the levels of their speakers."""
        normalized = rows.copy()
        if self.population_ is None:
            return normalized
        population = Population(**self.population_)
        for code, speaker in enumerate(table.speakers):
            (positions,) = np.nonzero(table.codes == code)
            if speaker in self.speakers_:
                summary = Summary(**self.speakers_[speaker])
            else:
                summary = summarize(rows[positions], self.time_axis, self.n_enrollment)
            if summary is not None:
                normalized[positions] = remove_level(
                    rows[positions],
                    summary,
                    population,
                    scale=self.scale,
                    time_axis=self.time_axis,
                )
        return normalized

    def __sklearn_is_fitted__(self):
        return hasattr(self, "population_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = self.transformer is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _selects_columns(transformer):
    """Return whether a transformer, or the first step of a pipeline, selects columns."""
    while isinstance(transformer, Pipeline):
        transformer = transformer.steps[0][1]
    return isinstance(transformer, ColumnTransformer)
