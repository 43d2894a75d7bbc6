"""Training on very many recordings: memory, waiting for data, reads of each file, kill and resume.

python benchmarks/many_recordings.py --results many.jsonl

A corpus of short synthetic files is made in a temporary folder. A small network with random weights
is trained in processes of their own: on few of the files and on all, and on few once more, killed
in the second epoch and continued. The network is small, so that decoding takes a large part of the
time. Each run is a line of the file.
"""

import argparse
import json
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import HubertConfig, HubertModel

from sklearn_ser import DistilledClassifier
from sklearn_ser.distillation import _speech_inputs

RATE = 16000
MIB = 2**20
EMOTIONS = np.array(["anger", "happiness", "neutral", "sadness"])


def make_corpus(folder, n):
    """Write short tones with noise, and return their paths."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 4 * RATE)
    paths = []
    for number, seconds in enumerate(np.clip(rng.lognormal(0, 0.5, n), 0.3, 4)):
        times = np.arange(int(seconds * RATE)) / RATE
        tone = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 400) * times)
        path = Path(folder) / f"{number // 1000:03d}" / f"{number:06d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone + noise[: len(times)], RATE)
        paths.append(str(path))
    return paths


def make_network(folder, arguments):
    """Save a network with random weights, and return its folder."""
    torch.manual_seed(0)
    size, model = arguments.hidden_size, Path(folder) / "network"
    config = HubertConfig(
        hidden_size=size,
        num_hidden_layers=arguments.layers,
        num_attention_heads=max(1, size // 64),
        intermediate_size=4 * size,
        conv_dim=(max(16, 2 * size // 3),) * 7,
        num_conv_pos_embeddings=max(16, size // 6),
        num_conv_pos_embedding_groups=max(1, size // 48),
    )
    HubertModel(config).save_pretrained(model)
    return str(model)


class Watch:
    """Count the reads of each file, and time epochs and waits for batches; kill at some read."""

    def __init__(self, kill_at=None):
        self.reads, self.kill_at = Counter(), kill_at
        self.seconds = self.waited = 0.0
        self._open_file = soundfile.SoundFile
        self._batches = _speech_inputs.SpeechInputs.batches
        soundfile.SoundFile = self.open_file
        _speech_inputs.SpeechInputs.batches = lambda inputs, splits: self.batches(inputs, splits)

    def open_file(self, file):
        """Open a file, and count it."""
        self.reads[os.fsdecode(file)] += 1
        if self.kill_at is not None and self.reads.total() == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._open_file(file)

    def batches(self, inputs, splits):
        """Yield batches, and add up the seconds until each of them is there."""
        batches, start_of_epoch = self._batches(inputs, splits), time.perf_counter()
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                self.seconds += time.perf_counter() - start_of_epoch
                return
            yield batch


def fit(model, paths, arguments, output, checkpoint, kill_at=None):
    """Train on files in this process, and write what was measured."""
    torch.set_num_threads(arguments.threads)
    watch = Watch(kill_at)
    classifier = DistilledClassifier(
        model,
        hidden_size=64,
        max_epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        max_duration=4.0,
        n_jobs=arguments.n_jobs,
        device="cpu",
        checkpoint=checkpoint,
        random_state=0,
        verbose=1,
    )
    classifier.fit(paths, EMOTIONS[np.arange(len(paths)) % len(EMOTIONS)])
    np.savez(output.with_suffix(".npz"), **classifier.state_)
    result = {
        "n": len(paths),
        "seconds": round(watch.seconds, 1),
        "waiting": round(watch.waited / watch.seconds, 4),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "reads_per_file": sorted(set(watch.reads.values())),
        "files_read": len(watch.reads),
        "history": classifier.history_["train_loss"],
    }
    output.write_text(json.dumps(result))


def fit_in_process(*arguments, kill_at=None):
    """Train in a new process, and return what was measured, or None if it was killed."""
    output = arguments[3]
    process = multiprocessing.get_context("spawn").Process(
        target=fit, args=arguments, kwargs={"kill_at": kill_at}
    )
    process.start()
    process.join()
    assert process.exitcode == (0 if kill_at is None else -signal.SIGKILL)
    return json.loads(output.read_text()) if kill_at is None else None


def measure_training(model, paths, folder, arguments):
    """Train on few files, on all, and on few with a kill; return results by name."""
    few = paths[: arguments.fewer]
    results = {}
    for name, some in {"few": few, "all": paths}.items():
        settings = (model, some, arguments, Path(folder) / name)
        results[name] = fit_in_process(*settings, Path(folder) / f"checkpoint_{name}")
    settings = (model, few, arguments, Path(folder) / "continued", Path(folder) / "checkpoint")
    fit_in_process(*settings, kill_at=len(few) * 3 // 2)
    results["continued"] = fit_in_process(*settings)
    whole, continued = (np.load(Path(folder) / f"{name}.npz") for name in ("few", "continued"))
    results["continued"]["same_bits"] = all(
        np.array_equal(whole[name], continued[name]) for name in whole.files
    )
    return results


def report_training(few, every, continued):
    """Print the table of the trainings."""
    growth = (every["peak_mib"] - few["peak_mib"]) * MIB / max(1, every["n"] - few["n"])
    print("\n| recordings | peak memory | waiting for data | reads of each file | seconds |")
    print("|---|---|---|---|---|")
    for row in (few, every):
        print(
            f"| {row['n']} | {row['peak_mib']:.0f} MiB | {100 * row['waiting']:.1f} % | "
            f"{row['reads_per_file']} | {row['seconds']:.0f} |"
        )
    print(f"\nGrowth of memory for each recording: {growth:.0f} bytes.")
    print(f"Killed in the second epoch, continued: same bits {continued['same_bits']}, ", end="")
    print(f"reads of each file afterwards {continued['reads_per_file']}.")


def main():
    """Measure, print the tables, and write the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=20000)
    parser.add_argument("--fewer", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--hidden-size", type=int, default=24)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--n-jobs", type=int, default=1, help="threads that decode")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--results", type=Path, help="file of JSON lines to add to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = make_network(folder, arguments)
        paths = make_corpus(folder, arguments.recordings)
        results = measure_training(model, paths, folder, arguments)
        report_training(results["few"], results["all"], results["continued"])
    if arguments.results is not None:
        settings = {name: value for name, value in vars(arguments).items() if name != "results"}
        with arguments.results.open("a") as lines:
            lines.write(json.dumps({"settings": settings, "results": results}) + "\n")


if __name__ == "__main__":
    main()
