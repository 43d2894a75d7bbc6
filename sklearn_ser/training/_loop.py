"""The training loop: skorch's, stepped an epoch at a time. Imported where `fit` needs it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from skorch.utils import to_tensor

from ._batches import Batches


class TrainingConfig(NamedTuple):
    """How to train.

    Attributes
    ----------
    loss : callable
        From outputs and targets of a batch to a scalar.
    optimizer : callable
        From the module to a `torch.optim.Optimizer`, whose groups hold their highest rates.
    max_epochs, batch_size : int
        Number of passes, and the largest number of recordings of a step.
    device : str
        Where to train.
    schedule : {"cosine", None}, default="cosine"
        Whether the learning rates fall to zero along half a cosine.
    warmup : float, default=0.0
        Share of the steps in which the learning rates rise from zero.
    accumulate : int, default=1
        Number of batches whose gradients are averaged for a step of the optimiser.
    dtype : torch.dtype, default=torch.float32
        Precision of the arithmetic; weights stay float32.
    augment : callable, default=None
        From inputs and targets of a batch, on the device, to those to learn from.
    score : callable, default=None
        From all outputs and targets of the validation set to a float, of which more is better.
    max_gradient : float, default=None
        Longer gradients, of all weights together, are shortened to this norm.
    """

    loss: Callable
    optimizer: Callable
    max_epochs: int
    batch_size: int
    device: str
    schedule: str | None = "cosine"
    warmup: float = 0.0
    accumulate: int = 1
    dtype: torch.dtype = torch.float32
    augment: Callable | None = None
    score: Callable | None = None
    max_gradient: float | None = None


def train(module, config, training, validation=None, *, rng, context):
    """Train a module in place, and yield the curve of each epoch after it.

    Parameters
    ----------
    module : torch.nn.Module
        With the weights to begin from.
    config : TrainingConfig
        How to train.
    training : Samples
        The recordings to learn from.
    validation : Samples, default=None
        The recordings to score after each epoch.
    rng : numpy.random.Generator
        Draws the order of the recordings.
    context : TrainingContext
        Active while an epoch is computed, and not while the caller has its curve.

    Yields
    ------
    curve : dict of str to float
        ``learning_rate`` (of the last group of parameters, in the last step), ``train_loss``, and
        with a validation set ``valid_loss`` and ``valid_score``.
    """
    batches = Batches(training, config.batch_size, rng)
    held_out = validation and Batches(validation, config.batch_size)
    net: Any = Net(
        module,
        criterion=dict,  # the configuration's loss is called in its place
        optimizer=lambda groups, lr: config.optimizer(module),
        device=config.device,
        callbacks="disable",
        verbose=0,
        config=config,
        n_batches=batches.n_batches,
    )
    with context.active():
        net.initialize()
    for _ in range(config.max_epochs):
        with context.active():
            net.history.new_epoch()
            net.run_single_epoch(batches, True, "train", net.train_step)
            net.run_single_epoch(held_out, False, "valid", net.validation_step)
        curve = {"learning_rate": net.optimizer_.param_groups[-1]["lr"], **net.history[-1]}
        curve.pop("batches")
        yield curve


class Net(NeuralNet):
    """skorch's net, with the losses, precision, and learning rates of a configuration.

    It does without what skorch does for every batch: its record in the history and three
    notifications, which cost as much as a tenth of a step of a small network.
    """

    def __init__(self, *args, config, n_batches, **kwargs):
        self.config, self.n_batches = config, n_batches
        super().__init__(*args, **kwargs)

    def initialize_optimizer(self):
        """Set the optimiser, its learning rates by step, and the scaling of gradients."""
        super().initialize_optimizer()
        config = self.config
        self.n_steps_ = math.ceil(self.n_batches / config.accumulate) * config.max_epochs
        self.step_ = 0
        self.rates_ = [group["lr"] for group in self.optimizer_.param_groups]
        self.scaler_ = torch.amp.GradScaler(  # float16 alone has too little range for gradients
            torch.device(self.device).type, enabled=config.dtype is torch.float16
        )

    def run_single_epoch(self, iterator, training, prefix, step_fn, **params):
        """Run one pass; record the mean loss, and after a validation pass the score."""
        if iterator is None:
            return
        self._set_training(training)
        total, outputs, all_targets = 0.0, [], []
        for number, (inputs, targets) in enumerate(iterator):
            step = step_fn((inputs, targets), number=number)
            total = total + step["loss"].detach() * len(targets)
            if not training:
                outputs.append(step["y_pred"])
                all_targets.append(targets)
        self.history.record(f"{prefix}_loss", float(total / len(iterator.samples)))
        if outputs:
            score = self.config.score(torch.cat(outputs).cpu(), torch.cat(all_targets))
            self.history.record(f"{prefix}_score", score)

    def train_step(self, batch, number=0, **params):
        """Learn from one batch; step where enough gradients are gathered."""
        config = self.config
        inputs, targets = to_tensor(batch, device=self.device)
        if config.augment is not None:
            inputs, targets = config.augment(inputs, targets)
        first = number - number % config.accumulate
        n_gathered = min(config.accumulate, self.n_batches - first)
        loss = self.get_loss(self.infer(inputs), targets)
        self.scaler_.scale(loss / n_gathered if n_gathered > 1 else loss).backward()
        if number + 1 == first + n_gathered:
            self._step()
        return {"loss": loss}

    def validation_step(self, batch, number=0, **params):
        """Compute loss and outputs of one batch."""
        inputs, targets = to_tensor(batch, device=self.device)
        with torch.no_grad():
            outputs = self.infer(inputs)
            return {"loss": self.get_loss(outputs, targets), "y_pred": outputs}

    def infer(self, x, **params):
        """Compute the module's outputs, in float32 whatever they are computed in."""
        if self.config.dtype is torch.float32:
            return super().infer(x)
        with torch.autocast(torch.device(self.device).type, self.config.dtype):
            return super().infer(x).float()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the configuration's loss."""
        return self.config.loss(y_pred, y_true)

    def _step(self):
        config = self.config
        factor = learning_rate_factor(
            self.step_, self.n_steps_, schedule=config.schedule, warmup=config.warmup
        )
        for group, rate in zip(self.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate * factor
        if config.max_gradient is not None:
            self.scaler_.unscale_(self.optimizer_)
            torch.nn.utils.clip_grad_norm_(self.module_.parameters(), config.max_gradient)
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        self.optimizer_.zero_grad()
        self.step_ += 1


def learning_rate_factor(step, n_steps, *, schedule, warmup):
    """Return by what the learning rates are multiplied in a step.

    Parameters
    ----------
    step, n_steps : int
        The step, counted from 0, and the number of all.
    schedule : {"cosine", None}
        Whether the factor falls to zero along half a cosine once it is up, or stays 1.
    warmup : float
        Share of the steps in which it rises from zero, along a line.

    Returns
    -------
    factor : float
    """
    n_warm = warmup * n_steps
    if step < n_warm:
        return (step + 1) / (n_warm + 1)
    if schedule is None:
        return 1.0
    return (1 + math.cos(math.pi * (step - n_warm) / max(1, n_steps - n_warm))) / 2
