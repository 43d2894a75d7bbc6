"""What every estimator over torch shares: parameters, training, weights as arrays, prediction."""

import weakref
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state, gen_batches

from sklearn_ser._sklearn import Interval, StrOptions
from sklearn_ser._warnings import warn
from sklearn_ser.backbones import choose_device
from sklearn_ser.nn import exact_convolutions

from ._batches import Samples, call, take, to_device
from ._context import TrainingContext

# So many times early stopping draws speakers to hold out, if some class is spoken by them alone.
_N_DRAWS = 100
# The module of each estimator that has predicted. Beside the estimators, so that neither pickles
# nor clones carry it.
_MODULES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class TrainingSet(NamedTuple):
    """Targets, and the indices of the recordings to train on.

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
    balance_by : ndarray of int of shape (n_recordings,), default=None
        What is to be spread evenly over the batches.
    """

    targets: np.ndarray
    positions: np.ndarray
    strata: np.ndarray | None = None
    groups: np.ndarray | None = None
    balance_by: np.ndarray | None = None


class TorchEstimator(CallbackSupportMixin, BaseEstimator):
    """Estimator whose `fit` trains a torch module, and keeps its weights as arrays.

    A subclass stores the parameters that are constrained here, and may have others. Its `fit`,
    decorated by `with_callbacks`, calls `_reset`, validates, sets fitted attributes, calls
    `_set_architecture` with what decides the module's shape, in plain types, and `_train`. Its
    methods for prediction call ``check_is_fitted(self, "state_")``, as a training that fails leaves
    other attributes behind, and `_outputs`. It defines

    - `_build_module()`, the module, from parameters and fitted attributes. Layers initialise
      themselves: torch's generators are seeded around it;
    - `_loss(outputs, targets)`, the loss of a batch;

    and may define

    - `_score(outputs, targets)`, what `early_stopping` watches, of which more is better; by default
      the loss, negated;
    - `_optimizer(module)`, an optimiser with as many groups of parameters as it likes; by default
      AdamW;
    - `_augment(inputs, targets, generator)`, what to learn from in place of a batch.

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

    def _loss(self, outputs, targets):
        raise NotImplementedError

    def _score(self, outputs, targets):
        return -float(self._loss(outputs, targets))

    def _optimizer(self, module):
        return torch.optim.AdamW(
            module.parameters(), self.learning_rate, weight_decay=self.weight_decay, fused=True
        )

    _augment: Any = None

    @property
    def _is_warm_start(self):
        """Tell whether `fit` begins from what the last one has learned."""
        return self.warm_start and hasattr(self, "state_")

    def _reset(self):
        """Forget what the last fit has learned, unless this one goes on from it."""
        if not self._is_warm_start:
            self.__dict__.pop("state_", None)
        _MODULES.pop(self, None)

    def _set_architecture(self, architecture):
        """Set `architecture_`, or refuse another than a warm start goes on from."""
        if not self._is_warm_start:
            self.architecture_ = architecture
        for name, value in architecture.items():
            fitted = self.architecture_[name]
            if value != fitted:
                raise ValueError(
                    f"warm_start=True can't go on with {name}={value!r}: the network that was "
                    f"trained has {name}={fitted!r}."
                )

    def _plan(self, training_set):
        """Draw the seeds of a training, and the recordings that are held out of it.

        Returns
        -------
        seeds : list of int
        training : ndarray of int
            Positions of the recordings to train on.
        validation : ndarray of int or None
            Those to score on.
        """
        before = self.n_iter_ if self._is_warm_start else 0
        drawn = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        *seeds, split = np.random.SeedSequence([drawn, before]).generate_state(4).tolist()
        if not self._is_warm_start:
            # A warm start holds the same recordings out: the others were trained on before.
            self._split_seed = split % 2**31
        return seeds, *self._split(training_set, self._split_seed)

    def _train(
        self,
        inputs,
        training_set,
        data,
        *,
        plan=None,
        validation_inputs=None,
        prepare=None,
        **config,
    ):
        """Train, and set `state_`, `history_`, `n_iter_` and `best_score_`.

        Parameters
        ----------
        inputs : object
            ``inputs[positions]`` gives a batch: an array, or what gives a tensor or a dict of
            tensors, whose keys are arguments of the module.
        training_set : TrainingSet
            What to learn of which of them.
        data : dict
            ``X``, ``y`` and ``metadata`` for scikit-learn's callbacks, as `score` takes them.
        plan : tuple, default=None
            From `_plan`, where it was needed before.
        validation_inputs : object, default=None
            The inputs that `early_stopping` scores, where they are others.
        prepare : callable, default=None
            Called with a new module, on the device, and the positions to train on: compute input
            statistics, load pretrained weights.
        **config
            `warmup` and `accumulate` of `TrainingConfig`.

        Returns
        -------
        self : object
        """
        from ._loop import train

        seeds, training, validation = plan or self._plan(training_set)
        device = choose_device(self.device)
        context = TrainingContext(seeds[0], device)
        with context.active():
            module = self._new_module().to(device)
            if self._is_warm_start:
                self._load_state(module)
            elif prepare is not None:
                prepare(module, training)
        targets, held_out = training_set.targets, None
        if validation is not None:
            scored = inputs if validation_inputs is None else validation_inputs
            held_out = Samples(scored, targets, validation)
        root = self._init_callback_context(max_subtasks=self.max_epochs)
        root.call_on_fit_task_begin(estimator=self, **data)
        curves = train(
            module,
            self._config(device, seeds[1], **config),
            Samples(inputs, targets, training, training_set.balance_by),
            held_out,
            rng=np.random.default_rng(seeds[2]),
            context=context,
        )
        self._follow(curves, module, root, data)
        root.call_on_fit_task_end(
            estimator=self, reconstruction_attributes={"state_": self.state_}, **data
        )
        return self

    def _follow(self, curves, module, root, data):
        """Step through the epochs of a training, and keep what comes of it."""
        before = self.n_iter_ if self._is_warm_start else 0
        history = {k: list(v) for k, v in self.history_.items()} if before else {}
        best, best_score, best_epoch = None, -np.inf, before
        epochs = _announce_epochs(self, root, data)
        for (epoch, task), curve in zip(enumerate(epochs, before + 1), curves, strict=True):
            _append(history, {"epoch": epoch, **curve})
            if self.verbose:
                print(_describe(history))
            self._refuse_divergence(epoch, curve["train_loss"])
            is_last = task.call_on_fit_task_end(
                estimator=self,
                reconstruction_attributes=lambda: {"state_": as_arrays(module)},
                **data,
            )
            if self.early_stopping:
                if curve["valid_score"] > best_score:
                    best, best_score, best_epoch = as_arrays(module), curve["valid_score"], epoch
                is_last |= epoch - best_epoch >= self.n_iter_no_change
            if is_last:
                break
        state = as_arrays(module) if best is None else best
        self._refuse_divergence(epoch, *state.values())
        self.state_, self.history_, self.n_iter_ = state, history, epoch
        self.best_score_ = best_score if self.early_stopping else None

    def _refuse_divergence(self, epoch, *numbers):
        if not all(np.isfinite(values).all() for values in numbers):
            raise ValueError(
                f"Loss or weights are not finite after epoch {epoch}: training diverged. "
                f"Lower learning_rate={self.learning_rate}, or look for values in X that "
                "lie far from all others."
            )

    def _config(self, device, seed, **config):
        from ._loop import TrainingConfig

        generator = torch.Generator(device).manual_seed(seed)
        return TrainingConfig(
            loss=self._loss,
            optimizer=self._optimizer,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            device=device,
            schedule=self.schedule,
            dtype=getattr(torch, self.dtype),
            augment=self._augment and (lambda *batch: self._augment(*batch, generator)),
            score=self._score,
            **config,
        )

    def _split(self, training_set, seed):
        """Return the positions to train on, and those to score on or None."""
        _, positions, strata, groups, _ = training_set
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

    def _new_module(self):
        module = self._build_module().float()
        return module.to(memory_format=torch.channels_last)

    def _load_state(self, module):
        # Copies: a training changes them, and some arrays are mapped from files.
        module.load_state_dict({name: torch.tensor(v) for name, v in self.state_.items()})

    def _fitted_module(self):
        """Return the module with the weights of `state_`, to predict with.

        It is built once, and again where `state_` has other arrays or `device` is another. Its
        arrays can't be written to from then on, so that it is never left behind.
        """
        device = self._device_of_prediction()
        module = self._kept_module(device)
        if module is None:
            with TrainingContext(0, "cpu").active():
                module = self._kept_module(device)  # another thread may have been faster
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
        module = self._new_module()
        self._load_state(module)
        for values in self.state_.values():
            values.setflags(write=False)
        module = module.to(device).eval()
        _MODULES[self] = device, dict(self.state_), module
        return module

    def _outputs(self, inputs, method="forward"):
        """Compute what a method of the module gives for inputs, batch by batch, in float32."""
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
            warn(f"{error} The CPU is taken.")
            return "cpu"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _announce_epochs(estimator, root, data):
    """Yield a task for scikit-learn's callbacks before each epoch, and tell them of it."""
    for _ in range(estimator.max_epochs):
        task = root.subcontext(task_name="epoch")
        task.call_on_fit_task_begin(estimator=estimator, **data)
        yield task


def _append(history, curve):
    """Append an epoch to a history. A warm start may bring columns, or lack some."""
    for name in {**history, **curve}:
        column = history.setdefault(name, [np.nan] * (curve["epoch"] - 1))
        column.append(curve.get(name, np.nan))


def _describe(history):
    epoch, *numbers = ((name, column[-1]) for name, column in history.items())
    return f"epoch {epoch[1]}: {', '.join(f'{name} {value:.4g}' for name, value in numbers)}"


def as_arrays(module):
    """Return a copy of the weights and statistics of a module as arrays."""
    return {
        name: np.array(values.detach().cpu().numpy(), order="C")  # a copy, whatever the layout
        for name, values in module.state_dict().items()
    }
