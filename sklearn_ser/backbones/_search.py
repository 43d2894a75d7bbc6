"""Find pretrained networks by name, without opening them. Does not import torch."""

import importlib.util
import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from ._checkpoint import TRANSFORMERS, Checkpoint, Layout, find_checkpoint

if TYPE_CHECKING:
    from ._codec import Codec

SPEECHBRAIN = Layout(
    settings=("hyperparams.yaml",),
    weights=(("embedding_model.ckpt",),),
    origin="a speaker encoder of SpeechBrain",
)
GE2E = Layout(
    settings=(),
    weights=(("pretrained.pt",),),
    origin="one with the GE2E checkpoint of Resemblyzer",
)
LYRA = Layout(
    settings=("soundstream_encoder.tflite",),
    weights=(("quantizer.tflite",),),
    origin="a copy of Lyra's model_coeffs",
)
# The package's checkpoints have no configuration besides their file names.
ENCODEC = Layout(
    settings=(),
    weights=(("encodec_24khz-*.th", "encodec_48khz-*.th"),),
    origin="one with a checkpoint of the encodec package",
)
SOUNDSTREAM = Layout(
    settings=(),
    weights=(("soundstream_variant_naturalspeech2.pt",),),
    origin="one with the checkpoint of the soundstream package",
)
# Layouts of codecs, in addition to that of transformers.
CODEC_LAYOUTS = {"lyra": LYRA, "encodec": ENCODEC, "soundstream": SOUNDSTREAM}
# Name of a codec -> hub id.
_ON_THE_HUB = {
    "encodec_24khz": "facebook/encodec_24khz",
    "encodec_48khz": "facebook/encodec_48khz",
    "dac_16khz": "descript/dac_16khz",
    "dac_24khz": "descript/dac_24khz",
    "mimi": "kyutai/mimi",
    "snac": "hubertsiuzdak/snac_24khz",
    "soundstream": "haydenshively/SoundStream",
}

_registered: dict[str, "Callable[..., Codec]"] = {}


def find_network(model, *, family, revision=None, local_files_only=False, parameter="model"):
    """Return the checkpoint of a network of recordings, whose type is not checked.

    Parameters
    ----------
    model : str or path
        Hub id or folder.
    family : str
        Expected family, see `load_backbone`.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        If True, nothing is downloaded.
    parameter : str, default="model"
        Name of the parameter through which `model` was passed, for error messages.

    Returns
    -------
    checkpoint : Checkpoint

    Raises
    ------
    OSError
        If the model can't be found.
    """
    where = {"revision": revision, "local_files_only": local_files_only, "parameter": parameter}
    if family != "speaker":
        return find_checkpoint(model, **where)
    if model == "ge2e":
        return find_checkpoint(_find_ge2e(), layouts=(GE2E,), **where)
    if os.fspath(model).startswith("speechbrain/"):
        where["before_download"] = _require_speechbrain
    # SpeechBrain first, because its models also have a config.json.
    return find_checkpoint(model, layouts=(SPEECHBRAIN, TRANSFORMERS, GE2E), **where)


def _find_ge2e():
    """Return the checkpoint in the installed Resemblyzer, without importing the package."""
    package = importlib.util.find_spec("resemblyzer")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "pretrained.pt"
        if path.is_file():
            return path
    raise FileNotFoundError(
        "model='ge2e' is the file pretrained.pt of the package Resemblyzer, which is not "
        "installed. Run `pip install --no-deps Resemblyzer` (its code is not run), or pass the "
        "file or its folder: model='path/to/pretrained.pt'."
    )


def _require_speechbrain():
    from ._speechbrain import require_speechbrain

    require_speechbrain()


def register_codec(name, load):
    """Register a codec under a name that can be passed as `model` to `CodecEmbedder`.

    The registration applies to the current process. For several processes, such as a search with
    ``n_jobs``, register the codec in a module that all of them import.

    Parameters
    ----------
    name : str
        Name of the codec. A previous registration under this name is replaced.
    load : callable
        Function that returns a `Codec`. It is called with the keyword arguments `device` ("cpu",
        "cuda" and so on), `revision` and `local_files_only` by each `fit` and `transform`, so
        weights should be loaded on first use and cached.

    Raises
    ------
    TypeError
        If `name` is not a str, or `load` is not callable.
    ValueError
        If `name` is the name of a codec of this package.

    See Also
    --------
    Codec : Base class of codecs, with an example.
    CodecEmbedder : Latents of a codec as a scikit-learn transformer.
    """
    if not isinstance(name, str) or not callable(load):
        raise TypeError(
            f"register_codec takes a name and a function that returns a Codec, not {name!r} and "
            f"{load!r}."
        )
    if name in _ON_THE_HUB:
        raise ValueError(f"name={name!r} is one of the package's own codecs: choose another.")
    _registered[name] = load


def registered_codec(model):
    """Return the function that was registered for a model; None if there is none."""
    return _registered.get(model) if isinstance(model, str) else None


def find_codec(model, *, revision=None, local_files_only=False):
    """Return the checkpoint of a codec that is not registered, and whose type is not checked.

    Parameters
    ----------
    model : str or path
        Name, hub id, folder or file.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        If True, nothing is downloaded.

    Returns
    -------
    checkpoint : Checkpoint

    Raises
    ------
    OSError
        If the model can't be found.
    ValueError
        If it is not the name of a codec, a folder or a file.
    """
    name = os.fspath(model)
    where = {"revision": revision, "local_files_only": local_files_only}
    if isinstance(model, str) and name in _ON_THE_HUB:
        layouts = (SOUNDSTREAM,) if name == "soundstream" else (TRANSFORMERS,)
        if name == "snac":
            where["before_download"] = _require_snac
        return find_checkpoint(_ON_THE_HUB[name], layouts=layouts, **where)
    if os.path.isfile(name):
        return _checkpoint_from_file(Path(name))
    if isinstance(model, str) and "/" not in name and not os.path.isdir(name):
        raise ValueError(
            f"model={name!r} is not the name of a codec, a folder or a file; names are "
            f"{', '.join([*_ON_THE_HUB, *_registered])}. A hub id has the form 'owner/name'. "
            "register_codec adds names."
        )
    return find_checkpoint(model, layouts=(TRANSFORMERS, *CODEC_LAYOUTS.values()), **where)


def _require_snac():
    from ._snac import require_snac

    require_snac()


def _checkpoint_from_file(path):
    """Return the checkpoint of a single file."""
    path = path.resolve()
    for layout in (ENCODEC, SOUNDSTREAM):
        if any(fnmatch(path.name, pattern) for patterns in layout.weights for pattern in patterns):
            return Checkpoint(str(path), path.parent, (path,), layout)
    names = [
        pattern for layout in (ENCODEC, SOUNDSTREAM) for row in layout.weights for pattern in row
    ]
    raise ValueError(
        f"model={str(path)!r}: a file must have its original name: {', '.join(names)}."
    )
