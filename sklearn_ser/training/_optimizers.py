"""Several optimizers as one."""

import itertools


class CombinedOptimizer:
    """Optimizers that step together, such as Riemannian Adam and Adam.

    Riemannian Adam is slow, so that it should only get the parameters that need it.

    Parameters
    ----------
    *optimizers : torch.optim.Optimizer
        Each with its own parameters.
    """

    def __init__(self, *optimizers):
        self.optimizers = optimizers
        self.param_groups = list(
            itertools.chain.from_iterable(optimizer.param_groups for optimizer in optimizers)
        )

    def step(self):
        """Take a step of each optimizer."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self):
        """Reset the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
