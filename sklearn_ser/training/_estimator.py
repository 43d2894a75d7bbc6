"""What every estimator over torch shares: parameters, training, weights as arrays, prediction."""

import contextlib
import threading
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state, gen_batches
from torch.overrides import TorchFunctionMode

from sklearn_ser._sklearn import Interval, StrOptions
from sklearn_ser._warnings import warn
from sklearn_ser.backbones import choose_device
from sklearn_ser.nn import exact_convolutions

from ._batches import Samples, call, take, to_device

# So many times early stopping draws speakers to hold out, if some class is spoken by them alone.
_N_DRAWS = 100
# Modules that draw from torch's global generator are trained one at a time in a process.
_GLOBAL_GENERATOR = threading.RLock()


class Learnable(NamedTuple):
    """What to learn of which recordings.

    Attributes
    ----------
    targets : ndarray of shape (n_recordings, ...)
        What `_loss` and `_score` of an estimator take, as tensors.
    positions : ndarray of int of shape (n_kept,)
        The recordings to learn from; those that `early_stopping` holds out are among them.
    strata : ndarray of shape (n_kept,), default=None
        Classes of which `early_stopping` holds out an equal share.
    groups : ndarray of shape (n_kept,), default=None
        Speakers of whom it holds out whole ones.
    kinds : ndarray of int of shape (n_recordings,), default=None
        What is to be spread evenly over the batches.
    """

    targets: np.ndarray
    positions: np.ndarray
    strata: np.ndarray | None = None
    groups: np.ndarray | None = None
    kinds: np.ndarray | None = None


class TorchEstimator(CallbackSupportMixin, BaseEstimator):
    """Estimator whose `fit` trains a torch module, and keeps its weights as arrays.

    A subclass stores the parameters that are constrained here, and may have others. It defines

    - `_build_module()`, the module, from parameters and fitted attributes. Whatever its layers
      draw by `torch.nn.init` is left undrawn;
    - `_initialize_module(module, generator)`, which draws all weights;
    - `_loss(outputs, targets)`, the loss of a batch;
    - `_architecture()`, a dict of what decides the module's shape, in plain types;

    and may define

    - `_optimizer(module)`, an optimiser with as many groups of parameters as it likes;
    - `_augment(inputs, targets, generator)`, what to learn from in place of a batch;
    - `_score(outputs, targets)`, what `early_stopping` watches, of which more is better;
    - `_warmup` and `_accumulate`, the share of steps in which learning rates rise and the number of
      batches to a step of the optimiser;
    - `_draws_globally`, whether the module draws from torch's global generator, as dropout does.

    Its `fit`, decorated by `with_callbacks`, calls `_begin`, validates, sets fitted attributes,
    calls `_settle_architecture` and `_train`. Its methods for prediction call
    ``check_is_fitted(self, "state_")``, as a training that fails leaves other attributes behind,
    and `_outputs`.
    """

    _parameter_constraints: dict = {
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [StrOptions({"cosine"}), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "dtype": [StrOptions({"float32", "bfloat16", "float16"})],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }
    # Groups are taken if they come: they matter with early_stopping alone.
    __metadata_request__fit = {"groups": True}

    # Set by `fit`.
    architecture_: dict[str, Any]
    state_: dict[str, np.ndarray]
    history_: dict[str, list]
    n_iter_: int

    def _build_module(self):
        raise NotImplementedError

    def _initialize_module(self, module, generator):
        raise NotImplementedError

    def _architecture(self):
        raise NotImplementedError

    def _loss(self, outputs, targets):
        raise NotImplementedError

    def _score(self, outputs, targets):
        return -float(self._loss(outputs, targets))

    _augment: Any = None

    @property
    def _warmup(self):
        return 0.0

    @property
    def _accumulate(self):
        return 1

    @property
    def _draws_globally(self):
        return False

    def _inputs_to_score(self, inputs):
        return inputs

    def _optimizer(self, module):
        return torch.optim.AdamW(
            module.parameters(), self.learning_rate, weight_decay=self.weight_decay, fused=True
        )

    @property
    def _goes_on(self):
        """Tell whether `fit` begins from what the last one has learned."""
        return self.warm_start and hasattr(self, "state_")

    def _begin(self):
        """Forget what the last fit has learned, unless this one goes on from it."""
        if not self._goes_on:
            self.__dict__.pop("state_", None)

    def _settle_architecture(self):
        """Set `architecture_`, or refuse another than a warm start goes on from."""
        architecture = self._architecture()
        if not self._goes_on:
            self.architecture_ = architecture
        for name, value in architecture.items():
            fitted = self.architecture_[name]
            if value != fitted:
                raise ValueError(
                    f"warm_start=True can't go on with {name}={value!r}: the network that was "
                    f"trained has {name}={fitted!r}."
                )

    def _plan(self, learnable):
        """Draw the seeds of a training, and the recordings that are held out of it.

        Returns
        -------
        seeds : list of int
        training : ndarray of int
            Positions of the recordings to train on.
        validation : ndarray of int or None
            Those to score on.
        """
        before = self.n_iter_ if self._goes_on else 0
        drawn = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        seeds = np.random.SeedSequence([drawn, before]).generate_state(5).tolist()
        if not self._goes_on:
            # A warm start holds the same recordings out: the others were trained on before.
            self._split_seed = seeds[1] % 2**31
        return seeds, *self._split(learnable, self._split_seed)

    def _train(self, inputs, learnable, data, plan=None):
        """Train and set `state_`, `history_`, `n_iter_` and `best_score_`.

        Parameters
        ----------
        inputs : object
            ``inputs[positions]`` gives a batch: an array, or what gives a tensor or a dict of
            tensors, whose keys are arguments of the module.
        learnable : Learnable
            What to learn of which of them.
        data : dict
            ``X``, ``y`` and ``metadata`` for scikit-learn's callbacks, as `score` takes them.
        plan : tuple, default=None
            From `_plan`, where it was needed before.
        """
        from ._loop import train

        goes_on = self._goes_on
        before = self.n_iter_ if goes_on else 0
        history: dict = {k: list(v) for k, v in self.history_.items()} if goes_on else {}
        device = choose_device(self.device)
        seeds, training, validation = plan or self._plan(learnable)
        with ready_to_train(seeds[4], device, self._draws_globally):
            module = self._load_module() if goes_on else self._new_module(seeds[0])
            if not goes_on:
                self._prepare_module(module, inputs, training, device)
            epochs = _Epochs(self, module, history, before, data)
            train(
                module,
                self._recipe(device, seeds[3]),
                Samples(inputs, learnable.targets, training, learnable.kinds),
                None
                if validation is None
                else Samples(self._inputs_to_score(inputs), learnable.targets, validation),
                rng=np.random.default_rng(seeds[2]),
                begin=epochs.begin,
                end=epochs.end,
            )
        state = as_arrays(module) if epochs.best is None else epochs.best
        epochs.refuse_divergence(all(np.isfinite(values).all() for values in state.values()))
        self.state_ = state
        self.history_ = history
        self.n_iter_ = len(history["train_loss"])
        self.best_score_ = epochs.best_score if self.early_stopping else None
        epochs.close()

    def _recipe(self, device, seed):
        from ._loop import Recipe

        generator = torch.Generator(device).manual_seed(seed)
        return Recipe(
            loss=self._loss,
            optimizer=self._optimizer,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            schedule=self.schedule,
            warmup=self._warmup,
            accumulate=self._accumulate,
            dtype=getattr(torch, self.dtype),
            device=device,
            augment=self._augment and (lambda *batch: self._augment(*batch, generator)),
            score=self._score,
        )

    def _new_module(self, seed):
        module = self._empty_module()
        self._initialize_module(module, torch.Generator().manual_seed(seed))
        return module.to(memory_format=torch.channels_last)

    def _prepare_module(self, module, inputs, training, device):
        """Let a new module see what it is to be trained on; most need not."""

    def _load_module(self):
        """Rebuild the module from a copy of `state_`."""
        module = self._empty_module()
        state = {name: torch.tensor(values) for name, values in self.state_.items()}
        module.load_state_dict(state)
        return module.to(memory_format=torch.channels_last)

    def _empty_module(self):
        with _WithoutInitialization():
            return self._build_module().float()  # whatever torch's default type is

    def _split(self, learnable, seed):
        """Return the positions to train on, and those to score on or None."""
        _, positions, strata, groups, _ = learnable
        if not self.early_stopping:
            return positions, None
        try:
            split = self._hold_out(positions, strata, groups, seed)
        except ValueError as error:
            among = "recordings" if groups is None else "speakers"
            n_among = len(positions if groups is None else np.unique(groups))
            raise ValueError(
                f"early_stopping=True can't hold out validation_fraction="
                f"{self.validation_fraction} of {n_among} {among} so that some of each class, and "
                "two recordings at least, are left to train on. Give more of them, another "
                "fraction, or early_stopping=False."
            ) from error
        return tuple(positions[np.sort(part)] for part in split)

    def _hold_out(self, positions, strata, groups, seed):
        """Return what is left and what is held out, in the first draw that leaves enough."""
        settings = {"test_size": self.validation_fraction, "random_state": seed}
        if groups is not None:
            splitter = GroupShuffleSplit(_N_DRAWS, **settings)
        elif strata is not None:
            splitter = StratifiedShuffleSplit(1, **settings)
        else:
            splitter = ShuffleSplit(1, **settings)
        n_classes = 0 if strata is None else len(np.unique(strata))
        for left, held_out in splitter.split(positions, strata, groups):
            of_left = () if strata is None else np.unique(strata[left])
            if len(left) >= 2 and len(of_left) == n_classes:
                return left, held_out
        raise ValueError("each draw leaves too little")

    def _outputs(self, inputs, method="forward"):
        """Compute what a method of the module gives for inputs, batch by batch, in float32."""
        device = self._device_of_prediction()
        module = self._load_module().to(device).eval()
        outputs = []
        with torch.inference_mode(), exact_convolutions():
            for rows in gen_batches(len(inputs), self.batch_size):
                batch = to_device(take(inputs, np.arange(rows.start, rows.stop)), device)
                outputs.append(call(getattr(module, method), batch).cpu())
        return torch.cat(outputs).numpy()

    def _device_of_prediction(self):
        try:
            return choose_device(self.device)
        except ValueError as error:
            warn(f"{error} The CPU is taken.")
            return "cpu"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class _Epochs:
    """What happens around each epoch: the curve, early stopping, scikit-learn's callbacks."""

    def __init__(self, estimator, module, history, before, data):
        self.estimator, self.module, self.history = estimator, module, history
        self.number, self.data = before, data
        self.best: dict | None = None
        self.best_score = -np.inf
        self.n_without_change = 0
        self.root = estimator._init_callback_context(max_subtasks=estimator.max_epochs)
        self.root.call_on_fit_task_begin(estimator=estimator, **self.data)
        self.context: Any = None

    def begin(self):
        self.context = self.root.subcontext(task_name="epoch")
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end(self, curve):
        """Take note of an epoch; tell whether it was the last."""
        self.number += 1
        curve = {"epoch": self.number, **curve}
        for name in {**self.history, **curve}:
            # A warm start may bring columns, or lack some.
            column = self.history.setdefault(name, [np.nan] * (self.number - 1))
            column.append(curve.get(name, np.nan))
        if self.estimator.verbose:
            print(_describe(curve))
        self.refuse_divergence(np.isfinite(curve["train_loss"]))
        stopped = self._tell_callbacks()
        return self._stops_early(curve) or stopped

    def refuse_divergence(self, is_finite):
        if not is_finite:
            raise ValueError(
                f"Loss or weights are not finite after epoch {self.number}: training diverged. "
                f"Lower learning_rate={self.estimator.learning_rate}, or look for values in X that "
                "lie far from all others."
            )

    def close(self):
        """Tell callbacks that the training is over; the estimator is fitted by now."""
        fitted = {"state_": self.estimator.state_}
        self.root.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=fitted, **self.data
        )

    def _tell_callbacks(self):
        return self.context.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: {"state_": as_arrays(self.module)},
            **self.data,
        )

    def _stops_early(self, curve):
        if not self.estimator.early_stopping:
            return False
        if curve["valid_score"] > self.best_score:
            self.best_score, self.n_without_change = curve["valid_score"], 0
            self.best = as_arrays(self.module)
        else:
            self.n_without_change += 1
        return self.n_without_change >= self.estimator.n_iter_no_change


def _describe(curve):
    numbers = (f"{name} {value:.4g}" for name, value in curve.items() if name != "epoch")
    return f"epoch {curve['epoch']}: {', '.join(numbers)}"


def as_arrays(module):
    """Return a copy of the weights and statistics of a module as arrays."""
    return {
        name: np.array(values.detach().cpu().numpy(), order="C")  # a copy, whatever the layout
        for name, values in module.state_dict().items()
    }


@contextlib.contextmanager
def ready_to_train(seed, device, draws_globally):
    """Let gradients be computed, whatever the user has set around it, with generators seeded.

    Parameters
    ----------
    seed : int
        For torch's global generators.
    device : str
        Where to train.
    draws_globally : bool
        Whether the module draws from them, in which case they are put back afterwards.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        _global_generator(seed, device, draws_globally),
    ):
        yield


@contextlib.contextmanager
def _global_generator(seed, device, is_needed):
    """Seed torch's global generators for a while, where they are needed, and put them back."""
    if not is_needed:
        yield
        return
    on_gpu = torch.device(device).type == "cuda"
    with _GLOBAL_GENERATOR, torch.random.fork_rng([device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class _WithoutInitialization(TorchFunctionMode):
    """Lets layers be made without weights being drawn, which come from elsewhere."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def merge_repetitions(arrays, weights):
    """Find recordings that are alike, and an order that doesn't depend on theirs.

    Recordings that are equal in all arrays count as one, of their summed weight; those without
    weight are left out. So to repeat a recording is to raise its weight, and the order in which
    recordings come makes no difference.

    Parameters
    ----------
    arrays : list of ndarray of shape (n_recordings, ...)
        What a recording is told by. No objects.
    weights : ndarray of shape (n_recordings,)
        Their weights, none below zero.

    Returns
    -------
    kept : ndarray of int
        Positions of recordings to keep, ordered by their content.
    merged_weights : ndarray
        The weight of each of them.
    """
    kept = np.flatnonzero(weights > 0)
    columns = [_as_bytes(array if len(kept) == len(array) else array[kept]) for array in arrays]
    order = np.lexsort(columns[::-1])
    is_new = np.ones(len(order), dtype=bool)
    # Pair by pair, so that nothing large is copied.
    is_new[1:] = [any(c[one] != c[other] for c in columns) for one, other in pairwise(order)]
    merged = np.bincount(np.cumsum(is_new) - 1, weights=weights[kept[order]])
    return kept[order[is_new]], merged


def _as_bytes(array):
    """View each row as one item, whose order is that of its bytes."""
    rows = np.ascontiguousarray(array).reshape(len(array), -1)
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
