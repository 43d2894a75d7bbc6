"""Time of `fit`, relative to plain torch loops and to a logistic regression."""

import shutil
from functools import partial

import numpy as np
import torch
import transformers
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from sklearn_ser import (
    ConcordanceRegressor,
    DistilledClassifier,
    EmoHRNetClassifier,
    HyperbolicFusionClassifier,
)
from sklearn_ser.nn import HRNet, concordance_loss
from sklearn_ser.training import call, to_device

from ._bench import RATE, at_most, compare
from ._machine import arithmetic
from ._transformers import save_network

BARE = "a plain torch loop"
GOAL = at_most(1.1)
BLOCKS = (512, 256)
# Recordings, columns of two blocks, and classes: as in Emo-DB and RAVDESS.
TABLES = [(535, (128, 256), 7), (535, BLOCKS, 7), (1440, (128, 256), 8), (1440, BLOCKS, 8)]
# No augmentation.
PLAIN = {
    "crop": 1,
    "mixup": 0,
    "n_time_masks": 0,
    "n_frequency_masks": 0,
    "band_shift": 0,
    "time_stretch": 0,
}
TINY_HUBERT = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def train(module, optimizer, inputs, targets, loss, *, batch_size, n_epochs=1):
    """Train a network in the shortest torch loop."""
    device = next(module.parameters()).device
    rng = np.random.default_rng(0)
    for _ in range(n_epochs):
        for rows in np.array_split(rng.permutation(len(targets)), len(targets) // batch_size):
            optimizer.zero_grad()
            outputs = call(module, to_device(inputs[rows], device))
            loss(outputs, targets[rows].to(device)).backward()
            optimizer.step()
    return {name: values.cpu() for name, values in module.state_dict().items()}


def compare_fit(
    bench, what, estimator, X, y, prepare, targets, loss=functional.cross_entropy, goal=GOAL
):
    """Compare `fit` with a loop of the same network, batches and optimiser.

    Parameters
    ----------
    bench : Bench
    what : str
        Name for the table.
    estimator : TorchEstimator
        Estimator with a batch size that divides the number of samples.
    X, y : array-like
        Arguments of `fit`.
    prepare : callable
        Returns what the network gets, sliced by the rows of a batch.
    targets : ndarray
        What the loss gets, likewise.
    loss : callable
        Loss of outputs and targets.
    goal : Goal or None
        Limit of the ratio.

    Yields
    ------
    row : Row
    """
    estimator.set_params(device=bench.device, random_state=0).fit(X, y)

    def bare():
        torch.manual_seed(0)
        module = estimator._new_module().to(bench.device)
        estimator._load_state(module)
        train(
            module.train(),
            estimator._optimizer(module),
            prepare(),
            torch.from_numpy(targets),
            loss,
            batch_size=estimator.batch_size,
            n_epochs=estimator.max_epochs,
        )

    counts = {"training steps": estimator.max_epochs * len(targets) // estimator.batch_size}
    rivals = {"fit": partial(estimator.fit, X, y), BARE: bare}
    with arithmetic(1):
        runs = bench.run(rivals, dict.fromkeys(rivals, counts))
    yield compare(f"`fit` of {what}", BARE, runs, "fit", BARE, goal)


def make_table(n):
    """Return random features, classes and dimensions."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n, sum(BLOCKS)), dtype=np.float32)
    return features, np.arange(n) % 7, rng.standard_normal((n, 3), dtype=np.float32)


def standardize(X):
    """Return a standardised table as a tensor."""
    return torch.from_numpy(StandardScaler().fit_transform(X.astype(np.float64))).float()


def fit_fusion(bench):
    """HyperbolicFusionClassifier as a network; in full also with other branches and head."""
    n, n_epochs = bench.size((3200, 5), (960, 3), (32, 1))
    X, y, _ = make_table(n)
    others = [({"branch": "conv"}, None), ({"branch": "mlp", "head": "mlr"}, None)]
    for settings, goal in [({"branch": "mlp"}, GOAL), *bench.size(others, [], [])]:
        estimator = HyperbolicFusionClassifier(
            list(BLOCKS),
            batch_size=32,
            max_epochs=1 if settings["branch"] == "conv" else n_epochs,
            order="given",  # else it fits logistic regressions to find the order
            **settings,
        )
        arguments = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        name = f"`HyperbolicFusionClassifier({arguments})`"
        yield from compare_fit(bench, name, estimator, X, y, partial(standardize, X), y, goal=goal)


def fit_concordance(bench):
    """ConcordanceRegressor."""
    X, _, y = make_table(bench.size(3200, 960, 32))
    estimator = ConcordanceRegressor(batch_size=32, max_epochs=bench.size(5, 3, 1))
    ones = torch.ones(32, device=bench.device)

    def loss(outputs, targets):
        return concordance_loss(outputs, targets, ones)

    prepare = partial(standardize, X)
    yield from compare_fit(bench, "`ConcordanceRegressor`", estimator, X, y, prepare, y, loss)


class Waveforms(list):
    """Waveforms in batches of those that `DistilledClassifier` trains on."""

    def __getitem__(self, rows):
        """Return the inputs of the network."""
        pieces = [torch.from_numpy(super(Waveforms, self).__getitem__(row)) for row in rows]
        return {"features": torch.cat(pieces), "lengths": torch.tensor(list(map(len, pieces)))}


def fit_distilled(bench):
    """DistilledClassifier, of the size of DistilHuBERT, on recordings of one to three seconds."""
    sizes = bench.size({}, {}, TINY_HUBERT)
    folder = save_network(
        transformers.HubertModel, bench.folder / "hubert", num_hidden_layers=2, **sizes
    )
    n, batch_size = bench.size((32, 8), (8, 4), (4, 2))
    rng = np.random.default_rng(0)
    longest = bench.size(3, 3, 0.2)
    X = Waveforms(
        rng.normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
        for seconds in rng.uniform(longest / 3, longest, n)
    )
    y = np.arange(n) % 2
    estimator = DistilledClassifier(folder, batch_size=batch_size, max_epochs=1)
    yield from compare_fit(bench, "`DistilledClassifier`", estimator, list(X), y, lambda: X, y)


def make_spectrograms(size, n):
    """Return random spectrograms and classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, *size), dtype=np.float32), np.arange(n) % 8


def fit_emohrnet(bench):
    """EmoHRNetClassifier without augmentation."""
    X, y = make_spectrograms((64, 96), bench.size(128, 32, 16))
    estimator = EmoHRNetClassifier(
        max_epochs=1,
        batch_size=bench.size(32, 16, 8),
        **bench.size({}, {}, {"width": 2, "head_width": 2}),
        **PLAIN,
    )
    images = torch.from_numpy(X[:, None])
    name = "`EmoHRNetClassifier`, no augmentation"
    yield from compare_fit(bench, name, estimator, X, y, lambda: images, y)


def emohrnet(bench):
    """Training steps of EmoHRNet, relative to timm's network."""
    for size in bench.size(((128, 192), (64, 96)), ((64, 96),), ((32, 32),)):
        yield from _compare_steps(bench, size)


def _compare_steps(bench, size):
    import timm

    X, y = make_spectrograms(size, bench.size(128, 16, 16))
    settings = {"batch_size": bench.size(32, 16, 8)}
    inputs, targets = torch.from_numpy(X[:, None]), torch.from_numpy(y)

    def bare(make_network, channels_last=False, prepare=lambda network: network):
        module = make_network().to(bench.device).train()
        if channels_last:
            module.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(module.parameters(), 1e-3, fused=True)
        train(prepare(module), optimizer, inputs, targets, functional.cross_entropy, **settings)

    def fit(**parameters):
        EmoHRNetClassifier(
            head_width=32,  # as timm's
            max_epochs=1,
            device=bench.device,
            random_state=0,
            **settings,
            **parameters,
        ).fit(X, y)

    timms = partial(timm.create_model, "hrnet_w18_small", in_chans=1, num_classes=8)
    ours = partial(HRNet, 8)
    rivals = {
        "our network, plain loop": partial(bare, ours),
        "our network, channels last": partial(bare, ours, channels_last=True),
        "`fit`, no augmentation": partial(fit, **PLAIN),
        "`fit`, defaults": fit,
        "`fit`, bfloat16": partial(fit, dtype="bfloat16"),
    }
    if bench.mode == "full" and shutil.which("g++"):
        rivals["our network, `torch.compile`"] = partial(bare, ours, prepare=torch.compile)
    runs = bench.run({"timm": partial(bare, timms), **rivals})
    for name in rivals:
        what = f"EmoHRNet, {size[0]} × {size[1]}: {name}"
        yield compare(what, "timm, plain loop", runs, name, "timm")


def linear_fusion(bench):
    """Linear branches of HyperbolicFusionClassifier, relative to a logistic regression."""
    for n, blocks, n_classes in bench.size(TABLES, TABLES[:1], ()):
        X, y = make_classification(
            n,
            sum(blocks),
            n_informative=40,
            n_redundant=sum(blocks) - 40,
            n_classes=n_classes,
            random_state=0,
        )
        logistic = LogisticRegression(C=0.01, class_weight="balanced", max_iter=3000)
        rivals = {
            "logistic": partial(make_pipeline(StandardScaler(), logistic).fit, X, y),
            "ours": partial(HyperbolicFusionClassifier(blocks).fit, X, y),
        }
        with arithmetic(1):
            runs = bench.run(rivals)
        name = f"`fit`, linear branches, {n} × {sum(blocks)}, {n_classes} classes"
        yield compare(name, "logistic regression", runs, "ours", "logistic")
