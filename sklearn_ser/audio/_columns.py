"""Which column of a table holds the recordings, and which what else is known of them."""

# Without letter case, "_", "-" and blanks.
_IGNORED = str.maketrans("", "", "_- ")
_KINDS = ("", "path", "file")
_USUAL_NAMES = {
    "recording": {"path", "file", "filename", "filepath", "recordings", "speech"}
    | {name + kind for name in ("recording", "audio", "wav") for kind in _KINDS},
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
    """Return the column that the user names, or else the only one with a usual name.

    Parameters
    ----------
    names : sequence of str or int
        The table's columns.
    kind : {"recording", "transcript", "label", "speaker"}
        What the column holds.
    given : str, int or None, default=None
        The column that the user names.
    table : str
        What errors call the table.
    parameter : str, default=None
        The parameter by which the user names it, for errors. If there is none, they ask for
        other columns.
    optional : bool, default=False
        Whether a table may lack such a column.

    Returns
    -------
    name : str, int or None
        None if no column has a usual name and it is optional.

    Raises
    ------
    ValueError
        If `given` is no column, or not exactly one column has a usual name.
    """
    listed = list_columns(names)
    if given is not None:
        if given in names:
            return given
        raise ValueError(
            f"{parameter}={given!r} is no column of {table}, whose columns are {listed}."
        )
    usual = _USUAL_NAMES[kind]
    fitting = [name for name in names if str(name).translate(_IGNORED).lower() in usual]
    if len(fitting) == 1:
        return fitting[0]
    if optional and not fitting:
        return None
    problem = f"{list_columns(fitting)} may each be" if fitting else "none has a usual name for"
    remedy = (
        f"Rename the column that is meant to '{kind}', and drop the others."
        if parameter is None
        else f"Name the one that is meant with the parameter `{parameter}`."
    )
    raise ValueError(f"Among the columns {listed} of {table}, {problem} the {kind}. {remedy}")


def list_columns(names):
    """List names for a message."""
    return ", ".join(map(repr, names)) or "(none)"
