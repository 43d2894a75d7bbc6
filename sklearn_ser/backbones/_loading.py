"""Build networks from checkpoints, once per process, strictly, and no larger than their weights."""

import contextlib
import os
import re
from collections import OrderedDict
from functools import lru_cache
from threading import get_ident

import torch
from torch.nn.modules import module as torch_module

from sklearn_ser._forks import INITIALIZATION, ForkSafeLock
from sklearn_ser.audio import SAMPLING_RATES

from ._checkpoint import CheckpointError
from ._config import make_config, unusable_error
from ._weights import (
    check_dtypes,
    check_finite,
    check_state_dict,
    check_weights,
    load_state_dict_strict,
    read_shapes,
    read_weights,
)

# Maximum number of backbones to keep in memory, without the weights of encoders.
_MAX_BACKBONES = 32
# Maximum number of networks to keep in memory; the least recently used is dropped.
_MAX_NETWORKS = 3
# Limits of the sizes of a backbone: layers and dimensions, and waveforms in seconds.
_MAX_SIZE = 1_000_000
_MAX_SHORTEST, _MAX_LONGEST = 60, 600


def open_checkpoint(make, checkpoint, **settings):
    """Return the backbone of a checkpoint, created once per process while the files are unchanged.

    Parameters
    ----------
    make : callable
        Class or module-level function that creates the backbone.
    checkpoint : Checkpoint
        Argument of `make`.
    **settings
        Keyword arguments of `make`; hashable.

    Returns
    -------
    backbone : Backbone
        Shared, must not be modified.
    """
    return _open(make, checkpoint, checkpoint.version, **settings)


@lru_cache(maxsize=_MAX_BACKBONES)
def _open(make, checkpoint, version, **settings):
    try:
        backbone = make(checkpoint, **settings)
    except (CheckpointError, OSError, ImportError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of a library, for settings that it does not expect
        raise unusable_error(checkpoint, error) from error
    _check_sizes(backbone, checkpoint)
    return backbone


def _check_sizes(backbone, checkpoint):
    """Compare the sizes of a backbone with possible ones, and with the shapes of its weights."""
    limits = {"n_layers": (1, _MAX_SIZE), "n_dims": (1, _MAX_SIZE)}
    rate = getattr(backbone, "sampling_rate", None)
    if rate is not None:
        limits["sampling_rate"] = SAMPLING_RATES
        limits["stride"] = (1, _MAX_SHORTEST * rate)
        limits["min_samples"] = (1, _MAX_SHORTEST * rate)
        limits["max_samples"] = (1, _MAX_LONGEST * rate)
    for name, (low, high) in limits.items():
        value = getattr(backbone, name)
        optional = name in {"stride", "max_samples"} and value is None
        if not optional and not low <= value <= high:
            problem = f"{name} would be {value if abs(value) < 10**18 else 'vast'}"
            raise unusable_error(checkpoint, ValueError(problem))
    shapes = read_shapes(checkpoint) if checkpoint.layout.settings else {}
    if shapes:
        _check_shapes(backbone, checkpoint, shapes)


def _check_shapes(backbone, checkpoint, shapes):
    sizes = {size for shape in shapes.values() for size in shape}
    if backbone.n_layers - 1 > len(shapes):
        problem = f"{backbone.n_layers - 1} layers, and there are {len(shapes)} weights"
    elif backbone.n_dims not in sizes:
        problem = f"{backbone.n_dims} dimensions, which no weight has"
    else:
        return
    name = checkpoint.layout.settings[0]
    raise CheckpointError(
        f"The {name} of {checkpoint.label} does not belong to its weights: it describes {problem}. "
        "Download the model again."
    )


_networks: OrderedDict[tuple, torch.nn.Module] = OrderedDict()
_networks_lock = ForkSafeLock()


def load_network(checkpoint, network_class, *, device, dtype, part=None):
    """Load a frozen network of transformers, once per process for each device and precision.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    network_class : type
        Model class of transformers.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.
    part : str, default=None
        Name of the submodule to return, such as ``"encoder"``. If None, the whole network.

    Returns
    -------
    network : torch.nn.Module
        Network in evaluation mode; shared, must not be modified.

    Raises
    ------
    OSError
        If a file can't be read.
    CheckpointError
        If weights are missing, unexpected, of another shape or type, or not finite.
    """
    return get_cached(
        (checkpoint.folder, checkpoint.version, network_class, part, device, dtype),
        lambda: _load(checkpoint, network_class, dtype, part).to(device),
    )


def get_cached(key, load):
    """Return the network with the given key, and load it if it is not in memory.

    Parameters
    ----------
    key : tuple
        Cache key: path, version of the files, device, precision.
    load : callable
        Returns the network.

    Returns
    -------
    network : torch.nn.Module
        Network in evaluation mode; shared, must not be modified.
    """
    network = _find(key)
    if network is not None:  # without waiting for another thread that loads a network
        return network
    with INITIALIZATION.held():
        network = _find(key)  # another thread may have loaded it
        if network is None:
            network = load().requires_grad_(False).eval()
            with _networks_lock.held():
                _networks[key] = network
                while len(_networks) > _MAX_NETWORKS:
                    _networks.popitem(last=False)
    return network


def _find(key):
    """Return the network with the given key if it is in memory, and mark it as used."""
    with _networks_lock.held():
        if key in _networks:
            _networks.move_to_end(key)
        return _networks.get(key)


def _load(checkpoint, network_class, dtype, part):
    """Load a network of transformers from weights and settings that are already checked.

    transformers gets no path, and therefore reads no other files.
    """
    config = make_config(checkpoint, network_class.config_class)
    weights = read_weights(checkpoint)
    try:
        with quiet(), torch.random.fork_rng(devices=[]), _size_limit(checkpoint, weights):
            network, info = network_class.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # checked below
            )
    except CheckpointError:
        raise
    except Exception as error:  # of transformers, for settings that it does not expect
        raise unusable_error(checkpoint, error) from error
    prefix = f"{part}." if part else ""
    check_state_dict(
        checkpoint,
        network_class.__name__,
        missing=[
            key
            for key in info["missing_keys"]
            if key.startswith(prefix) and not _IGNORED_KEYS.search(key)
        ],
        unexpected=[
            key
            for key in info["unexpected_keys"]
            if _belongs_to(key, network)
            and not _IGNORED_KEYS.search(key)
            and key.removeprefix(f"{network.base_model_prefix}.").startswith(prefix)
        ],
        mismatched=[name for name, *_ in info["mismatched_keys"]],
        errors=info["error_msgs"],
        remedy="Download the model again, or save it with transformers' save_pretrained.",
    )
    check_dtypes(network, weights, checkpoint)
    network = getattr(network, part) if part else network
    check_finite(network, checkpoint)
    return _own_memory(network, weights)


def _own_memory(network, weights):
    """Copy weights that are still those of a file, which would change, or vanish, with it."""
    of_files = {value.untyped_storage().data_ptr() for value in weights.values()}
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.untyped_storage().data_ptr() in of_files:
            tensor.data = tensor.data.clone()
    return network


@contextlib.contextmanager
def _size_limit(checkpoint, weights):
    """Stop the construction of a network with more parameters than the files have weights.

    Only tensors without data are counted, with a margin, because some are registered twice.
    """
    n_tensors = 4 * len(weights) + 1000
    n_values = sum(os.path.getsize(path) for path in checkpoint.weights) + 1_000_000
    thread = get_ident()  # the hook is called in all threads

    def count(module, name, tensor):
        nonlocal n_tensors, n_values
        if tensor is not None and tensor.is_meta and get_ident() == thread:
            n_tensors -= 1
            n_values -= tensor.numel()
            if min(n_tensors, n_values) < 0:
                raise CheckpointError(
                    f"The {checkpoint.layout.settings[0]} of {checkpoint.label} describes a larger "
                    "network than its weights are. Download the model again."
                )

    hooks = (
        torch_module.register_module_parameter_registration_hook(count),
        torch_module.register_module_buffer_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def build_network(build, weights, checkpoint):
    """Build a network of another library and load its weights, after their shapes are compared.

    Parameters
    ----------
    build : callable
        Returns the network, with random weights.
    weights : dict of str to Tensor
        State dict.
    checkpoint : Checkpoint
        Checkpoint of the weights.

    Returns
    -------
    network : torch.nn.Module
    """
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"), _size_limit(checkpoint, weights):
            check_weights(build(), weights, checkpoint)
        return load_state_dict_strict(build(), weights, checkpoint)


# Weights that do not affect the output: the mask embedding of training, the speaker classifier of
# x-vector models, the pooler of text encoders, and the position ids of older checkpoints.
_IGNORED_KEYS = re.compile(
    r"(^|\.)masked_spec_embed$|^(classifier|objective)\."
    r"|^(\w+\.)?pooler\.|^(\w+\.)?embeddings\.position_ids$"
)


def _belongs_to(key, network):
    """Return whether an unexpected weight belongs to the network and not to a head."""
    prefix = f"{network.base_model_prefix}."
    if key.startswith(prefix):
        return True
    # WavLMForXVector has a linear layer "feature_extractor" in its head, and its network has a
    # submodule of the same name, which has no direct parameters.
    child, *below = key.split(".")
    module = dict(network.named_children()).get(child)
    return module is not None and (len(below) > 1 or any(True for _ in module.parameters(False)))


@contextlib.contextmanager
def quiet():
    """Silence transformers' progress bar and loading report, which is checked separately."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
