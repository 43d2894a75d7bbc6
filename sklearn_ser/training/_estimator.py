"""Base class of the torch estimators: parameters, training, fitted weights, prediction."""

import weakref
from copy import deepcopy
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state, gen_batches

from sklearn_ser._pickles import Estimator
from sklearn_ser._sklearn import Interval, StrOptions
from sklearn_ser._warnings import warn, warn_without_groups
from sklearn_ser.backbones import choose_device, choose_dtype
from sklearn_ser.nn import exact_convolutions

from ._batches import Samples, call, take, to_device
from ._checkpoint import (
    Checkpoint,
    check_parameters,
    describe_parameters,
    hash_arrays,
    read_seeds,
)
from ._context import TrainingContext
from ._progress import Progress

# Maximum number of splits drawn by early stopping until each class is left in the training set.
_N_DRAWS = 100
# The module of each estimator that has predicted. It is no attribute, so that neither pickles nor
# clones contain it.
_MODULES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class TrainingSet(NamedTuple):
    """Targets, and the indices of the recordings to train on.

    Attributes
    ----------
    targets : ndarray of shape (n_recordings, ...)
        Targets, as `_loss` and `_score` of the estimator take them.
    positions : ndarray of int of shape (n_kept,)
        Indices of the recordings with a weight above zero, including those that `early_stopping`
        holds out.
    strata : ndarray of shape (n_kept,), default=None
        Classes by which `early_stopping` stratifies.
    groups : ndarray of shape (n_kept,), default=None
        Speakers; `early_stopping` holds out whole ones.
    balance_by : ndarray of int of shape (n_recordings,), default=None
        Classes that are spread evenly over the batches.
    total_weight : float, default=None
        Sum of the weights of the recordings, to which penalties are relative.
    """

    targets: np.ndarray
    positions: np.ndarray
    strata: np.ndarray | None = None
    groups: np.ndarray | None = None
    balance_by: np.ndarray | None = None
    total_weight: float | None = None


class TrainingPlan(NamedTuple):
    """Seeds of a training, and its split into a training and a validation set.

    Attributes
    ----------
    seeds : list of int
        Seeds of the module, of augmentation and of the order of the recordings.
    training : ndarray of int
        Indices of the training set.
    validation : ndarray of int or None
        Indices of the validation set of `early_stopping`.
    """

    seeds: list[int]
    training: np.ndarray
    validation: np.ndarray | None


class TorchEstimator(CallbackSupportMixin, Estimator):
    """Estimator whose `fit` trains a torch module and stores its weights as arrays.

    A subclass has the parameters that are constrained here, and may have others. Its `fit`,
    decorated by `with_callbacks`, calls `_reset`, validates its input, sets fitted attributes,
    calls `_set_architecture` with the arguments of the module in plain types, and `_train`. Its
    prediction methods call ``check_is_fitted(self, "state_")``, since a failed training leaves
    other fitted attributes behind, and `_outputs`. It must define

    - `_build_module()`: return the module, built from parameters and fitted attributes. Layers
      initialise themselves; the global generators of torch are seeded meanwhile;
    - `_loss(outputs, targets)`: return the loss of a batch;

    and may define

    - `_warmup`: the fraction of the steps over which the learning rates increase; by default 0;
    - `_score(outputs, targets)`: return the score that `early_stopping` maximises; by default the
      negative loss;
    - `_optimizer(module)`: return an optimizer, with any number of parameter groups; by default
      AdamW;
    - `_augment(inputs, targets, progress, generator)`: return an augmented batch. Progress is the
      fraction of the steps already taken.

    Examples
    --------
    A linear regression of any number of targets:

    >>> import numpy as np
    >>> from sklearn.callback import with_callbacks
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.utils.validation import check_is_fitted, validate_data
    >>> from torch import nn
    >>> from sklearn_ser.training import TorchEstimator, TrainingSet
    >>> class LinearRegressor(TorchEstimator):
    ...     def __init__(self, *, max_epochs=200, learning_rate=0.1, random_state=None):
    ...         self.max_epochs, self.learning_rate = max_epochs, learning_rate
    ...         self.random_state = random_state
    ...         self.batch_size, self.weight_decay, self.schedule = 32, 0.0, "cosine"
    ...         self.device, self.dtype = "cpu", "float32"
    ...         self.early_stopping = self.warm_start = self.verbose = False
    ...     @with_callbacks
    ...     def fit(self, X, y):
    ...         self._reset()
    ...         X, y = validate_data(self, X, y, dtype=np.float32, multi_output=True)
    ...         self._set_architecture({"n_inputs": X.shape[1], "n_targets": y.shape[1]})
    ...         training_set = TrainingSet(y.astype(np.float32), np.arange(len(y)))
    ...         return self._train(X, training_set, {"X": X, "y": y, "metadata": None})
    ...     def predict(self, X):
    ...         check_is_fitted(self, "state_")
    ...         return self._outputs(validate_data(self, X, dtype=np.float32, reset=False))
    ...     def _build_module(self):
    ...         return nn.Linear(*self.architecture_.values())
    ...     def _loss(self, outputs, targets):
    ...         return nn.functional.mse_loss(outputs, targets)
    >>> X, y = make_regression(100, 5, n_targets=2, random_state=0)
    >>> regressor = LinearRegressor(random_state=0).fit(X, y / y.std())
    >>> regressor.predict(X).shape, regressor.history_["train_loss"][-1] < 0.001
    ((100, 2), True)
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
        "dtype": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }
    # Groups are requested by default, but used only with early_stopping.
    __metadata_request__fit = {"groups": True}

    # Set by `fit`.
    architecture_: dict[str, Any]
    state_: dict[str, np.ndarray]
    history_: dict[str, list]
    n_iter_: int
    _seeds: dict[str, int]

    def _build_module(self):
        raise NotImplementedError

    def _loss(self, outputs, targets):
        raise NotImplementedError

    def _score(self, outputs, targets):
        return -float(self._loss(outputs, targets))

    def _optimizer(self, module):
        return torch.optim.AdamW(
            module.parameters(), self.learning_rate, weight_decay=self.weight_decay, fused=True
        )

    _augment: Any = None
    # A subclass that has the parameter can continue a training that was killed. Its optimizer needs
    # a `state_dict`.
    checkpoint: Any = None

    @property
    def _warmup(self) -> float:
        return 0.0

    @property
    def _is_warm_start(self):
        """Whether `fit` continues from the weights of the previous call."""
        return self.warm_start and hasattr(self, "state_")

    def _reset(self):
        """Delete the weights of the previous fit, unless this one continues from them."""
        if self.checkpoint is not None:
            check_parameters(self)
        if not self._is_warm_start:
            self.__dict__.pop("state_", None)
            self._forget_version()
        _MODULES.pop(self, None)

    def _set_architecture(self, architecture):
        """Set `architecture_`; with a warm start, check that it has not changed."""
        if not self._is_warm_start:
            self.architecture_ = architecture
        for name, value in architecture.items():
            fitted = self.architecture_[name]
            if value != fitted:
                raise ValueError(
                    f"warm_start=True can't continue with {name}={value!r}: the network that was "
                    f"trained has {name}={fitted!r}."
                )

    def _end_epoch(self, module):
        """Hook: change the module after an epoch (default: nothing)."""

    def _draw_seed(self, name):
        """Draw a seed from `random_state`, or return that of the training that is continued."""
        seed = read_seeds(self.checkpoint).get(name)
        if seed is None:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self.__dict__.setdefault("_seeds", {})[name] = seed
        return seed

    def _plan(self, training_set):
        """Return the `TrainingPlan`: draw seeds, and hold out the validation set."""
        before = self.n_iter_ if self._is_warm_start else 0
        drawn = self._draw_seed("training")
        *seeds, split = np.random.SeedSequence([drawn, before]).generate_state(4).tolist()
        if not self._is_warm_start:
            # A warm start holds out the same recordings; it was trained on the others before.
            self._split_seed = split % 2**31
        return TrainingPlan(seeds, *self._split(training_set, self._split_seed))

    def _train(
        self,
        inputs,
        training_set,
        data,
        *,
        plan=None,
        validation_inputs=None,
        prepare=None,
        fingerprint=None,
    ):
        """Train the module, and set `state_`, `history_`, `n_iter_` and `best_score_`.

        Parameters
        ----------
        inputs : object
            As for `Samples`. The keys of a dict are arguments of the module.
        training_set : TrainingSet
            Targets of the recordings.
        data : dict
            From `callback_data`.
        plan : TrainingPlan, default=None
            From `_plan`, if it was needed before.
        validation_inputs : object, default=None
            Inputs of the validation set, if they differ.
        prepare : callable, default=None
            ``prepare(module, training)`` is called with the newly initialised module, on the
            device, and the indices of the training set: compute input statistics, load pretrained
            weights. A warm start does not call it.
        fingerprint : callable, default=None
            ``fingerprint()`` returns a dict by which a checkpoint recognises the inputs: names of
            them, for error messages, and hashes. By default arrays are hashed.

        Returns
        -------
        self : object
        """
        from ._loop import train

        plan = plan or self._plan(training_set)
        seeds, training, validation = plan
        device = choose_device(self.device)
        checkpoint = self._open_checkpoint(inputs, training_set, plan, fingerprint)
        context = TrainingContext(seeds[0], device)
        with context.initializing():
            module = self._new_module().to(device)
        with context.active():
            if self._is_warm_start:
                self._load_state(module)
            elif prepare is not None and not checkpoint.n_epochs:
                prepare(module, training)
        targets, held_out = training_set.targets, None
        if validation is not None:
            scored = inputs if validation_inputs is None else validation_inputs
            held_out = Samples(scored, targets, validation)
        generator = torch.Generator(device).manual_seed(seeds[1])
        checkpoint.attach(augmentation=generator)
        if hasattr(inputs, "load_state_dict"):
            checkpoint.attach(inputs=inputs)
        root = self._init_callback_context(max_subtasks=self.max_epochs)
        root.call_on_fit_task_begin(estimator=self, **data)
        n_left = checkpoint.count_left(self.max_epochs)
        with Progress(len(training), n_left, verbose=self.verbose) as progress:
            curves = train(
                module,
                self._config(device, generator, progress.update),
                Samples(inputs, targets, training, training_set.balance_by),
                held_out,
                rng=np.random.default_rng(seeds[2]),
                context=context,
                checkpoint=checkpoint,
            )
            self._follow(curves, module, root, data, checkpoint, progress)
        root.call_on_fit_task_end(
            estimator=self, reconstruction_attributes={"state_": self.state_}, **data
        )
        return self

    def _open_checkpoint(self, inputs, training_set, plan, fingerprint):
        """Return the `Checkpoint`; raise an error if it is that of another training."""
        checkpoint = Checkpoint(self.checkpoint)
        if self.checkpoint is not None:
            targets, positions, _, _, balance_by, _ = training_set
            own = {"recordings": hash_arrays(inputs)} if fingerprint is None else fingerprint()
            split = hash_arrays(plan.training, plan.validation)
            data = {
                "number of recordings": len(targets),
                **own,
                "targets or weights": hash_arrays(targets, positions, balance_by),
                "recordings to train on or to hold out": split,
                "network": hash_arrays(repr(self.architecture_)),
            }
            checkpoint.open({"parameters": describe_parameters(self), "data": data})
        return checkpoint

    def _follow(self, curves, module, root, data, checkpoint, progress):
        """Run the epochs, with callbacks and early stopping, and set the fitted attributes."""
        before = self.n_iter_ if self._is_warm_start else 0
        history = {k: list(v) for k, v in self.history_.items()} if before else {}
        best, best_score, best_epoch = None, -np.inf, before
        if checkpoint.saved:
            before, history = checkpoint.n_epochs, checkpoint.saved["history"]
            best, best_score, best_epoch = checkpoint.saved["best"]
        epoch = before
        epochs = _announce_epochs(self, root, data, checkpoint.count_left(self.max_epochs))
        for (epoch, task), curve in zip(enumerate(epochs, before + 1), curves, strict=True):
            self._end_epoch(module)
            _append(history, {"epoch": epoch, **curve})
            progress.end_epoch(history)
            self._check_finite(epoch, curve["train_loss"])
            is_last = task.call_on_fit_task_end(
                estimator=self,
                reconstruction_attributes=lambda: {"state_": as_arrays(module)},
                **data,
            )
            if self.early_stopping:
                if curve["valid_score"] > best_score:
                    best, best_score, best_epoch = as_arrays(module), curve["valid_score"], epoch
                is_last |= epoch - best_epoch >= self.n_iter_no_change
            checkpoint.save(
                seeds=self._seeds,
                history=history,
                best=(best, best_score, best_epoch),
                is_finished=bool(is_last) or epoch == self.max_epochs,
            )
            if is_last:
                break
        state = as_arrays(module) if best is None else best
        self._check_finite(epoch, *state.values())
        self.state_, self.history_, self.n_iter_ = state, history, epoch
        self.best_score_ = best_score if self.early_stopping else None

    def _check_finite(self, epoch, *numbers):
        if not all(np.isfinite(values).all() for values in numbers):
            raise ValueError(
                f"Loss or weights are not finite after epoch {epoch}: training diverged. "
                f"Lower learning_rate={self.learning_rate}, or look for outliers in X."
            )

    def _config(self, device, generator, report):
        from ._loop import TrainingConfig

        return TrainingConfig(
            loss=self._loss,
            optimizer=self._optimizer,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            device=device,
            schedule=self.schedule,
            warmup=self._warmup,
            dtype=choose_dtype(self.dtype, device),
            augment=self._augment and partial(self._augment, generator=generator),
            score=self._score,
            report=report,
        )

    def _split(self, training_set, seed):
        """Return the indices of the training set, and of the validation set or None."""
        _, positions, strata, groups, *_ = training_set
        if not self.early_stopping:
            return positions, None
        try:
            split = self._hold_out(positions, strata, groups, seed)
        except ValueError as error:
            among = "recordings" if groups is None else "speakers"
            n_among = len(positions if groups is None else np.unique(groups))
            raise ValueError(
                f"early_stopping=True can't hold out validation_fraction="
                f"{self.validation_fraction} of {n_among} {among} and leave recordings of each "
                "class, at least two in all, to train on. Pass more of them, change "
                "validation_fraction, or set early_stopping=False."
            ) from error
        return tuple(positions[np.sort(part)] for part in split)

    def _hold_out(self, positions, strata, groups, seed):
        """Return the first split that leaves each class in the training set."""
        settings = {"test_size": self.validation_fraction, "random_state": seed}
        if groups is None:
            warn_without_groups(
                "early_stopping=True holds out recordings, not speakers", type(self).__name__
            )
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
        raise ValueError("no split leaves enough recordings")

    def _new_module(self):
        module = self._build_module().float()
        return module.to(memory_format=torch.channels_last)

    def _load_state(self, module):
        # Copy: training modifies the weights, and memory-mapped arrays may be read-only.
        module.load_state_dict({name: torch.tensor(v) for name, v in self.state_.items()})

    def _fitted_module(self):
        """Return the module with the weights of `state_`, in evaluation mode.

        It is built once, and again if `state_` holds other arrays or `device` has changed. The
        arrays of `state_` become read-only, so that they cannot differ from the module's weights.
        """
        device = self._device_of_prediction()
        module = self._kept_module(device)
        if module is None:
            with TrainingContext(0, "cpu").active():
                module = self._kept_module(device)  # another thread may have built it
                if module is None:
                    module = self._keep_module(device)
        return module

    def _kept_module(self, device):
        kept_device, arrays, module = _MODULES.get(self, (None, {}, None))
        is_current = arrays.keys() == self.state_.keys() and all(
            arrays[name] is values for name, values in self.state_.items()
        )
        return module if is_current and kept_device == device else None

    def _keep_module(self, device):
        try:
            module = self._new_module()
            self._load_state(module)
        except (AttributeError, LookupError, TypeError, RuntimeError) as error:
            if self._is_of_other_version:
                raise self._unreadable_state_error(error) from error
            raise
        for values in self.state_.values():
            values.setflags(write=False)
        module = module.to(device).eval()
        _MODULES[self] = device, dict(self.state_), module
        return module

    def _module_copy(self):
        """Return a copy of the fitted module on the CPU, in evaluation mode."""
        return deepcopy(self._fitted_module()).cpu()

    def _outputs(self, inputs, method="forward"):
        """Return the outputs of a method of the module, computed batch by batch in float32."""
        module = self._fitted_module()
        device = next(module.parameters()).device
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
            warn(f"{error} Falling back to the CPU.")
            return "cpu"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def callback_data(X, y, sample_weight):
    """Return the arguments of `fit` as scikit-learn's callbacks take them."""
    metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
    return {"X": X, "y": y, "metadata": metadata}


def _announce_epochs(estimator, root, data, n_epochs):
    """Begin each epoch's task of scikit-learn's callbacks, and yield it."""
    for _ in range(n_epochs):
        task = root.subcontext(task_name="epoch")
        task.call_on_fit_task_begin(estimator=estimator, **data)
        yield task


def _append(history, curve):
    """Append an epoch to a history; pad columns that it, or earlier epochs, lack with NaN."""
    for name in {**history, **curve}:
        column = history.setdefault(name, [np.nan] * (curve["epoch"] - 1))
        column.append(curve.get(name, np.nan))


def as_arrays(module):
    """Return a copy of the parameters and buffers of a module as arrays."""
    return {
        name: np.array(values.detach().cpu().numpy(), order="C")  # regardless of memory format
        for name, values in module.state_dict().items()
    }
