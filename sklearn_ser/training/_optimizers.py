"""Optimisers beside each other, for parameters that need several."""

import itertools


class CombinedOptimizer:
    """Optimisers that step together: Riemannian Adam is slow on what plain Adam can do.

    Parameters
    ----------
    *optimizers : torch.optim.Optimizer
        Each with parameters of its own.
    """

    def __init__(self, *optimizers):
        self.optimizers = optimizers
        self.param_groups = list(
            itertools.chain.from_iterable(optimizer.param_groups for optimizer in optimizers)
        )

    def step(self):
        """Take a step of each."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self):
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
