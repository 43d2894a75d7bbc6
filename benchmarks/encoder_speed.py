"""Time of the speech embedders, relative to transformers and to a product of large matrices."""

import statistics
from functools import partial

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from sklearn_ser import WavLMEmbedder, WhisperEmbedder
from sklearn_ser.backbones._device import bfloat16_gain

from ._bench import RATE, NotMeasured, Row, at_least, at_most, by_clock, compare
from ._machine import DTYPES, arithmetic, conditions, matrix_product
from ._transformers import embed_alone, embed_padded, save_network

BATCH_SIZE = 16
LOOP = "transformers, one at a time"
PADDED = "transformers, padded batch with mask"
PRODUCT = "matrix product"
# Sizes in the mode "smoke".
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 8,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
TINY_WHISPER = {
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
}


def save_wavlm(bench):
    """Return the folder of WavLM base with random weights."""
    sizes = bench.size({}, {}, TINY)
    return save_network(transformers.WavLMModel, bench.folder / "wavlm", **sizes)


def find_whisper(bench):
    """Return the folder of Whisper base with its published weights."""
    if not bench.is_smoke:
        return bench.find("weights", "whisper-base-encoder")
    folder = bench.folder / "whisper"
    if not folder.exists():
        torch.manual_seed(0)
        WhisperEncoder(transformers.WhisperConfig(**TINY_WHISPER)).save_pretrained(folder)
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def load_wavlm(bench, dtype):
    """Return the network of transformers."""
    network = transformers.WavLMModel.from_pretrained(
        save_wavlm(bench), dtype=getattr(torch, dtype)
    )
    return network.to(bench.device).eval()


def embed_batches(network, waveforms):
    """Run padded batches of recordings, sorted by length."""
    ordered = sorted(waveforms, key=len)
    for start in range(0, len(ordered), BATCH_SIZE):
        embed_padded(network, ordered[start : start + BATCH_SIZE])


def count_operations(bench, embedder, waveforms):
    """Return the floating-point operations for single recordings, without padding."""
    embedder.fit_transform(waveforms[:1])  # weights cannot be loaded while the counter is active
    with FlopCounterMode(display=False) as counter:  # slow, hence few in the mode "smoke"
        for waveform in waveforms[: bench.size(None, None, 1)]:
            embedder.fit_transform([waveform])
    return counter.get_total_flops()


def share_of_product(what, runs, name, ratio, goal=None):
    """Return the row of the share of the matrix rate that an embedder reaches.

    `ratio` is that of its operations to those of the product.
    """
    row = compare(what, "rate of a matrix product", runs, name, PRODUCT)
    shares = ([100 * ratio * value for value in values] for values in (row.wall, row.cpu))
    return Row(row.what, row.against, goal, *shares, "%", row.runs)


def compare_wavlm(bench, what, waveforms, goals, *, threads):
    """Compare embedders with transformers, and with a product of matrices.

    Parameters
    ----------
    bench : Bench
    what : str
        Name of the recordings.
    waveforms : list of ndarray
        Recordings.
    goals : dict of tuple (ours, theirs) to Goal
        What to compare: the layers of an embedder, and a rival.
    threads : tuple of int
        Numbers of threads.

    Yields
    ------
    row : Row
    """
    make = partial(WavLMEmbedder, save_wavlm(bench), device=bench.device)
    operations = {
        layers: count_operations(bench, make(layers=layers), waveforms)
        for layers, rival in goals
        if rival == PRODUCT
    }
    for n_threads, precision, label in conditions(bench.device, threads):
        with arithmetic(n_threads, precision):
            dtype = DTYPES[precision]
            network = load_wavlm(bench, dtype)
            product, n_operations = matrix_product(bench.device, precision)
            embedders = {layers: make(layers=layers, dtype=dtype) for layers, _ in goals}
            rivals = {
                LOOP: partial(embed_alone, network, waveforms),
                PADDED: partial(embed_batches, network, waveforms),
                PRODUCT: product,
            }
            rivals |= {n: partial(e.fit_transform, waveforms) for n, e in embedders.items()}
            counts = {"forward passes": len(waveforms), "padded frames": 0}
            runs = bench.run(rivals, dict.fromkeys(embedders, counts))
            for (layers, rival), goal in goals.items():
                name = f"WavLM base, {what}, `layers={layers!r}`, {label}"
                if rival == PRODUCT:
                    ratio = operations[layers] / n_operations
                    yield share_of_product(name, runs, layers, ratio, goal)
                else:
                    yield compare(name, rival, runs, layers, rival, goal)


def wavlm(bench):
    """WavLM base on recordings of all lengths."""
    goals = {
        ("all", LOOP): at_least(1.2),
        ("all", PADDED): at_least(1.3),
        ("all", PRODUCT): at_least(85, "%"),
        (6, LOOP): at_least(1.75),
        (6, PRODUCT): None,
    }
    waveforms = bench.waveforms(bench.size(32, 3, 8))
    yield from compare_wavlm(
        bench, "Emo-DB", waveforms, goals, threads=bench.size((1, 2), (1, 2), (1,))
    )


def one_second(bench):
    """WavLM base on recordings of one second."""
    goals = {
        ("all", LOOP): at_least(1.5),
        ("all", PADDED): at_least(1.3),
        ("all", PRODUCT): None,
    }
    waveforms = [waveform[:RATE] for waveform in bench.waveforms(bench.size(64, 5, 8))]
    yield from compare_wavlm(bench, "1 s", waveforms, goals, threads=(1,))


def whisper(bench):
    """Whisper base, on the length of the recordings and on thirty seconds."""
    waveforms = bench.waveforms(bench.size(16, 4, 2))
    make = partial(WhisperEmbedder, find_whisper(bench), layers="all", device=bench.device)
    n_needed = count_operations(bench, make(context="recording"), waveforms)
    for n_threads, precision, label in conditions(bench.device, (1,)):
        with arithmetic(n_threads, precision):
            product, n_operations = matrix_product(bench.device, precision)
            rivals = {
                context: partial(
                    make(context=context, dtype=DTYPES[precision]).fit_transform, waveforms
                )
                for context in ("30s", "recording")
            }
            counts = {"forward passes": len(waveforms)}
            promised = {"30s": counts, "recording": counts | {"padded frames": 0}}
            runs = bench.run({**rivals, PRODUCT: product}, promised)
            name = f"Whisper base, context of the recording, {label}"
            yield compare(name, "padded to 30 s", runs, "recording", "30s", at_least(9))
            yield share_of_product(name, runs, "recording", n_needed / n_operations)


def bfloat16(bench):
    """Both encoders in bfloat16 on a CPU, relative to float32."""
    if bench.device != "cpu":
        raise NotMeasured("on a GPU, the other claims are measured in bfloat16 too")
    if bfloat16_gain("cpu") < 1:
        raise NotMeasured("this processor is slower in bfloat16")
    waveforms = bench.waveforms(bench.size(16, 2, 2))
    settings = {"layers": "all", "device": "cpu"}
    with arithmetic(1):
        network = load_wavlm(bench, "float32")
        rivals = {LOOP: partial(embed_alone, network, waveforms)}
        ours = {"WavLM base": partial(WavLMEmbedder, save_wavlm(bench), **settings)}
        for context in ("30s", "recording"):
            embedder = partial(WhisperEmbedder, find_whisper(bench), context=context, **settings)
            ours[f"Whisper base, context={context!r}"] = embedder
        rivals["Whisper base, 30 s"] = partial(
            ours["Whisper base, context='30s'"]().fit_transform, waveforms
        )
        for name, embedder in ours.items():
            rivals[name] = partial(embedder(dtype="bfloat16").fit_transform, waveforms)
        runs = bench.run(rivals)
        for name in ours:
            theirs = LOOP if name == "WavLM base" else "Whisper base, 30 s"
            yield compare(f"{name}, bfloat16, 1 thread", f"{theirs}, float32", runs, name, theirs)


def linear(bench):
    """Time of Whisper base against the seconds of audio."""
    multiples = bench.size((1, 2, 4, 8, 16, 32), (1, 2, 4), (1, 2))
    waveforms = bench.waveforms(bench.size(8, 4, 2))
    embedder = WhisperEmbedder(find_whisper(bench), context="recording", device=bench.device)
    with arithmetic(1):
        runs = bench.run({n: partial(embedder.fit_transform, waveforms * n) for n in multiples})
    deviations = []
    for clock in (0, 1):
        rates = [statistics.median(by_clock(runs[n], clock)) / n for n in multiples]
        deviations.append([100 * max(abs(rate / rates[-1] - 1) for rate in rates)])
    last = multiples[-1]
    yield Row(
        f"Whisper base, largest deviation of the time from a straight line, 1 to {last} ×",
        f"the time of {last} × the recordings",
        at_most(5, "%"),
        *deviations,
        "%",
        runs,
    )
