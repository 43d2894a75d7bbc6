"""Find the columns of a table that hold recordings, transcripts, labels and speakers."""

# Names are compared in lower case, without "_", "-" and spaces.
_IGNORED_CHARACTERS = str.maketrans("", "", "_- ")
_SUFFIXES = ("", "path", "file")
_USUAL_NAMES = {
    "recording": {"path", "file", "filename", "filepath", "recordings", "speech"}
    | {name + suffix for name in ("recording", "audio", "wav") for suffix in _SUFFIXES},
    "start": {"start", "starttime", "startseconds", "begin", "begintime", "onset"},
    "end": {"end", "endtime", "endseconds", "stop", "stoptime"},
    "transcript": {"sentence", "text", "transcript", "transcription", "transcripts", "utterance"},
    "label": {"label", "target", "class"}
    | {"emo" + tion + kind for tion in ("", "tion") for kind in ("", "label", "class")},
    "speaker": {
        name + suffix
        for name in ("speaker", "actor", "talker", "spk", "spkr", "subject")
        for suffix in ("", "id")
    },
}


def choose_column(names, kind, given=None, *, table, parameter=None, optional=False):
    """Return the given column, or the only column with a usual name.

    Parameters
    ----------
    names : sequence of str or int
        Names of the columns of the table.
    kind : {"recording", "start", "end", "transcript", "label", "speaker"}
        Content of the column.
    given : str, int or None, default=None
        Name of the column. If None, it is inferred from the usual names.
    table : str
        Name of the table in error messages.
    parameter : str, default=None
        Name of the parameter that sets `given`, for error messages. If None, there is none, and
        they ask for other columns.
    optional : bool, default=False
        Whether the column may be missing.

    Returns
    -------
    name : str, int or None
        Name of the column; None if `optional` and no column has a usual name.

    Raises
    ------
    ValueError
        If `given` is not a column, if several columns have a usual name, or if none has one
        and the column is not optional.
    """
    listed = list_columns(names)
    if given is not None:
        if given in names:
            return given
        raise ValueError(
            f"{parameter}={given!r} is no column of {table}, whose columns are {listed}."
        )
    usual = _USUAL_NAMES[kind]
    matches = [name for name in names if str(name).translate(_IGNORED_CHARACTERS).lower() in usual]
    if len(matches) == 1:
        return matches[0]
    if optional and not matches:
        return None
    problem = f"{list_columns(matches)} may each be" if matches else "none has a usual name for"
    remedy = (
        f"Rename the column that is meant to '{kind}', and drop the others."
        if parameter is None
        else f"Choose one with the parameter `{parameter}`."
    )
    raise ValueError(f"Among the columns {listed} of {table}, {problem} the {kind}. {remedy}")


def list_columns(names):
    """Format names as a list for a message."""
    return ", ".join(map(repr, names)) or "(none)"
