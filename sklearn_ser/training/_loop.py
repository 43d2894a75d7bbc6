"""The training loop: skorch's, over batches that are slices. Imported where `fit` needs it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.helper import predefined_split

from ._batches import Batches, call, count_batches, to_device


class Recipe(NamedTuple):
    """How to train.

    Attributes
    ----------
    loss : callable
        From outputs and targets of a batch to a scalar.
    optimizer : callable
        From the module to a `torch.optim.Optimizer`, whose groups hold their highest rates.
    max_epochs, batch_size : int
        Number of passes, and the largest number of recordings of a step.
    schedule : {"cosine", None}
        Whether the learning rates fall to zero along half a cosine.
    warmup : float
        Share of the steps in which the learning rates rise from zero.
    accumulate : int
        Number of batches whose gradients are averaged for a step of the optimiser.
    dtype : torch.dtype
        Precision of the arithmetic; weights stay float32.
    device : str
        Where to train.
    augment : callable or None
        From inputs and targets of a batch, on the device, to those to learn from.
    score : callable
        From all outputs and targets of the validation set to a float, of which more is better.
    max_gradient : float or None
        Longer gradients, of all weights together, are shortened to this norm.
    """

    loss: Callable
    optimizer: Callable
    max_epochs: int
    batch_size: int
    schedule: str | None
    warmup: float
    accumulate: int
    dtype: torch.dtype
    device: str
    augment: Callable | None
    score: Callable
    max_gradient: float | None = None


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


class Net(NeuralNet):
    """skorch's loop, with batches, precision, learning rates and losses as the recipe has them.

    It does without what skorch does for every batch: its record in the history and three
    notifications, which cost as much as a tenth of a step of a small network.
    """

    def __init__(self, *args, recipe, rng, **kwargs):
        self.recipe = recipe
        self.rng = rng
        super().__init__(*args, **kwargs)

    def get_iterator(self, dataset, training=False):
        """Return the batches of a pass, in a new order each time if it is for training."""
        return Batches(dataset, self.recipe.batch_size, self.rng if training else None)

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Begin to count the steps."""
        recipe = self.recipe
        self.n_batches_ = count_batches(len(X), recipe.batch_size)
        self.n_steps_ = math.ceil(self.n_batches_ / recipe.accumulate) * recipe.max_epochs
        self.step_ = 0
        self.rates_ = [group["lr"] for group in self.optimizer_.param_groups]
        self.scaler_ = torch.amp.GradScaler(  # float16 alone has too little range for gradients
            torch.device(self.device).type, enabled=recipe.dtype is torch.float16
        )

    def run_single_epoch(self, iterator, training, prefix, step_fn, **params):
        """Run one pass; record the mean loss, and after a validation pass the score."""
        if iterator is None:
            return
        self._set_training(training)
        total, outputs, targets = 0.0, [], []
        for number, (inputs, of_batch) in enumerate(iterator):
            step = step_fn((inputs, of_batch), number=number)
            total = total + step["loss"] * len(of_batch)
            if not training:
                outputs.append(step["y_pred"])
                targets.append(of_batch)
        self.history.record(f"{prefix}_loss", float(total / len(iterator.samples)))
        if outputs:
            score = self.recipe.score(torch.cat(outputs).cpu(), torch.cat(targets).cpu())
            self.history.record(f"{prefix}_score", score)

    def train_step(self, batch, number=0, **params):
        """Learn from one batch; step where enough gradients are gathered."""
        recipe = self.recipe
        inputs, targets = self._to_device(batch)
        if recipe.augment is not None:
            inputs, targets = recipe.augment(inputs, targets)
        first = number - number % recipe.accumulate
        n_gathered = min(recipe.accumulate, self.n_batches_ - first)
        loss = recipe.loss(self._outputs(inputs), targets)
        self.scaler_.scale(loss / n_gathered if n_gathered > 1 else loss).backward()
        if number + 1 == first + n_gathered:
            self._step()
        return {"loss": loss.detach()}

    def validation_step(self, batch, number=0, **params):
        """Compute loss and outputs of one batch."""
        inputs, targets = self._to_device(batch)
        with torch.no_grad():
            outputs = self._outputs(inputs)
            return {"loss": self.recipe.loss(outputs, targets), "y_pred": outputs}

    def _to_device(self, batch):
        return [to_device(part, self.device) for part in batch]

    def _outputs(self, inputs):
        if self.recipe.dtype is torch.float32:
            return call(self.module_, inputs)
        with torch.autocast(torch.device(self.device).type, self.recipe.dtype):
            return call(self.module_, inputs).float()

    def _step(self):
        recipe = self.recipe
        factor = learning_rate_factor(
            self.step_, self.n_steps_, schedule=recipe.schedule, warmup=recipe.warmup
        )
        for group, rate in zip(self.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate * factor
        if recipe.max_gradient is not None:
            self.scaler_.unscale_(self.optimizer_)
            torch.nn.utils.clip_grad_norm_(self.module_.parameters(), recipe.max_gradient)
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        self.optimizer_.zero_grad()
        self.step_ += 1


class StopTraining(Exception):
    """Raised at the end of an epoch after which training is to end."""


class EndOfEpoch(Callback):
    """Calls back at the beginning and the end of each epoch.

    Parameters
    ----------
    begin : callable
        Without arguments.
    end : callable
        Of the epoch's curve, a dict of str to float; returns True to end the training.
    """

    def __init__(self, begin, end):
        self.begin, self.end = begin, end

    def on_epoch_begin(self, net, **kwargs):
        """Tell that an epoch begins."""
        self.begin()

    def on_epoch_end(self, net, **kwargs):
        """Tell what the epoch brought, and end the training if that is wanted."""
        curve = {"learning_rate": net.optimizer_.param_groups[-1]["lr"]}
        last = net.history[-1]
        curve |= {
            name: last[name] for name in ("train_loss", "valid_loss", "valid_score") if name in last
        }
        if self.end(curve):
            raise StopTraining


def train(module, recipe, training, validation, *, rng, begin, end):
    """Train a module in place.

    Parameters
    ----------
    module : torch.nn.Module
        With the weights to begin from.
    recipe : Recipe
        How to train.
    training : Samples
        The recordings to learn from.
    validation : Samples or None
        The recordings to score after each epoch.
    rng : numpy.random.Generator
        Draws the order of the recordings.
    begin, end : callable
        Called around each epoch; see `EndOfEpoch`.
    """
    net: Any = Net(
        module,
        criterion=dict,  # the recipe's loss is called in its place
        optimizer=lambda groups, lr: recipe.optimizer(module),
        recipe=recipe,
        rng=rng,
        device=recipe.device,
        max_epochs=recipe.max_epochs,
        train_split=None if validation is None else predefined_split(validation),
        callbacks=[EndOfEpoch(begin, end)],
        verbose=0,
    )
    net.set_params(callbacks__epoch_timer=None, callbacks__print_log=None)
    net.set_params(callbacks__train_loss=None, callbacks__valid_loss=None)
    try:
        net.initialize()
        net.notify("on_train_begin", X=training)
        net.fit_loop(training)
    except StopTraining:
        pass
