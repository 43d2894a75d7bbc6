"""The training loop of skorch, run one epoch at a time. Imported only by `fit`."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from skorch.utils import to_tensor

from ._batches import Batches
from ._checkpoint import Checkpoint, get_weights, set_optimizer_state, set_weights


class TrainingConfig(NamedTuple):
    """Settings of a training.

    Attributes
    ----------
    loss : callable
        ``loss(outputs, targets)`` returns the loss of a batch, a scalar tensor.
    optimizer : callable
        ``optimizer(module)`` returns a `torch.optim.Optimizer` with the highest learning rate of
        each parameter group.
    max_epochs, batch_size : int
        Number of epochs, and size of the largest batch.
    device : str
        Device to train on.
    schedule : {"cosine", None}, default="cosine"
        "cosine" decays the learning rates to zero along half a cosine; None keeps them constant.
    warmup : float, default=0.0
        Fraction of the steps over which the learning rates increase linearly from zero.
    dtype : torch.dtype, default=torch.float32
        Precision of autocast; weights stay float32.
    augment : callable, default=None
        ``augment(inputs, targets, progress)`` returns the augmented batch, on the device. Progress
        is the fraction of the steps already taken.
    score : callable, default=None
        ``score(outputs, targets)`` returns the score of the validation set; higher is better.
    max_gradient : float, default=None
        Gradients are clipped to this total norm.
    report : callable, default=None
        ``report(n_recordings)`` is called after each step, with the size of its batch.
    """

    loss: Callable
    optimizer: Callable
    max_epochs: int
    batch_size: int
    device: str
    schedule: str | None = "cosine"
    warmup: float = 0.0
    dtype: torch.dtype = torch.float32
    augment: Callable | None = None
    score: Callable | None = None
    max_gradient: float | None = None
    report: Callable | None = None


def train(module, config, training, validation=None, *, rng, context, checkpoint=None):
    """Train a module in place, and yield the losses of each epoch.

    Parameters
    ----------
    module : torch.nn.Module
        With its initial weights.
    config : TrainingConfig
        Settings.
    training : Samples
        Training set.
    validation : Samples, default=None
        Validation set, evaluated after each epoch.
    rng : numpy.random.Generator
        Shuffles the training set.
    context : TrainingContext
        Active while an epoch is computed, but not while the caller handles its losses.
    checkpoint : Checkpoint, default=None
        Weights, optimizer and random generators are set to what was saved there. The caller saves
        them.

    Yields
    ------
    curve : dict of str to float
        ``learning_rate`` (of the last parameter group, in the last step), ``train_loss``, and if
        there is a validation set ``valid_loss`` and ``valid_score``.
    """
    batches = Batches(training, config.batch_size, rng)
    held_out = validation and Batches(validation, config.batch_size)
    net: Any = Net(
        module,
        criterion=dict,  # not used: `get_loss` calls the configuration's loss
        optimizer=lambda groups, lr: config.optimizer(module),
        device=config.device,
        callbacks="disable",
        verbose=0,
        config=config,
        n_batches=batches.n_batches,
    )
    checkpoint = checkpoint or Checkpoint()
    with context.active():
        net.initialize()
        checkpoint.attach(net=net)
    checkpoint.attach(order=rng, context=context)
    for _ in range(checkpoint.count_left(config.max_epochs)):
        with context.active():
            net.history.new_epoch()
            net.run_single_epoch(batches, True, "train", net.train_step)
            net.run_single_epoch(held_out, False, "valid", net.validation_step)
        curve = {"learning_rate": net.optimizer_.param_groups[-1]["lr"], **net.history[-1]}
        curve.pop("batches")
        yield curve


class Net(NeuralNet):
    """skorch's net, with the loss, precision and learning rates of a configuration.

    It skips skorch's history entry and three notifications per batch, which cost up to a tenth of
    a step of a small network.
    """

    def __init__(self, *args, config, n_batches, **kwargs):
        self.config, self.n_batches = config, n_batches
        super().__init__(*args, **kwargs)

    def initialize_optimizer(self):
        """Create the optimizer, the learning rate schedule and the gradient scaler."""
        super().initialize_optimizer()
        config = self.config
        self.n_steps_ = self.n_batches * config.max_epochs
        self.step_ = 0
        self.rates_ = [group["lr"] for group in self.optimizer_.param_groups]
        self.scaler_ = torch.amp.GradScaler(  # only float16 has too little range for gradients
            torch.device(self.device).type, enabled=config.dtype is torch.float16
        )

    def run_single_epoch(self, iterator, training, prefix, step_fn, **params):
        """Run one epoch; record the mean loss, and on the validation set the score."""
        if iterator is None:
            return
        self._set_training(training)
        total, n_samples, outputs, all_targets = 0.0, 0, [], []
        for inputs, targets in iterator:
            step = step_fn((inputs, targets))
            total = total + step["loss"].detach() * len(targets)
            n_samples += len(targets)
            if training and self.config.report is not None:
                self.config.report(len(targets))
            if not training:
                outputs.append(step["y_pred"])
                all_targets.append(targets)
        self.history.record(f"{prefix}_loss", float(total / n_samples))
        if outputs:
            score = self.config.score(torch.cat(outputs).cpu(), torch.cat(all_targets))
            self.history.record(f"{prefix}_score", score)

    def train_step(self, batch, **params):
        """Take one step of the optimizer."""
        inputs, targets = to_tensor(batch, device=self.device)
        if self.config.augment is not None:
            progress = self.step_ / self.n_steps_
            inputs, targets = self.config.augment(inputs, targets, progress)
        loss = self.get_loss(self.infer(inputs), targets)
        self.scaler_.scale(loss).backward()
        self._step()
        return {"loss": loss}

    def validation_step(self, batch, **params):
        """Compute the loss and the outputs of one batch."""
        inputs, targets = to_tensor(batch, device=self.device)
        with torch.no_grad():
            outputs = self.infer(inputs)
            return {"loss": self.get_loss(outputs, targets), "y_pred": outputs}

    def infer(self, x, **params):
        """Compute the outputs of the module, and cast them to float32."""
        if self.config.dtype is torch.float32:
            return super().infer(x)
        with torch.autocast(torch.device(self.device).type, self.config.dtype):
            return super().infer(x).float()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the loss of the configuration."""
        return self.config.loss(y_pred, y_true)

    def state_dict(self):
        """Return what a training needs to continue after an epoch."""
        return {
            "weights": get_weights(self.module_),
            "optimizer": self.optimizer_.state_dict(),
            "scaler": self.scaler_.state_dict(),
            "step": self.step_,
        }

    def load_state_dict(self, state):
        """Continue from a state."""
        set_weights(self.module_, state["weights"])
        set_optimizer_state(self.optimizer_, state["optimizer"])
        self.scaler_.load_state_dict(state["scaler"])
        self.step_ = state["step"]

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
    """Return the factor of the learning rates in a step.

    Parameters
    ----------
    step, n_steps : int
        Index of the step, from 0, and total number of steps.
    schedule : {"cosine", None}
        "cosine" decays the factor to zero along half a cosine after the warm-up; None keeps it 1.
    warmup : float
        Fraction of the steps over which the factor increases linearly from zero.

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
