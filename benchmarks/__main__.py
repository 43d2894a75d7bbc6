"""Measure the ratios of docs/benchmarks.md, or count on tiny inputs.

python -m benchmarks [--quick] [--only NAME ...] [--results FILE]
python -m benchmarks --smoke

Rivals run in turn, in one process. Times are wall-clock times, and CPU times of all threads and
child processes. A ratio is the median over the runs, with the range in parentheses. Corpora and
networks are found in the folders of SKLEARN_SER_DATA and SKLEARN_SER_WEIGHTS.
"""

import argparse
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import transformers

from . import (
    codec_speed,
    encoder_speed,
    process_cost,
    reading_speed,
    store_speed,
    training_speed,
)
from ._bench import Bench, NotMeasured, measure
from ._machine import describe_machine, matrix_rates

CLAIMS = {
    "wavlm": encoder_speed.wavlm,
    "one-second": encoder_speed.one_second,
    "whisper": encoder_speed.whisper,
    "bfloat16": encoder_speed.bfloat16,
    "linear": encoder_speed.linear,
    "ge2e": codec_speed.ge2e,
    "encodec": codec_speed.encodec,
    "lyra": codec_speed.lyra,
    "one-pass": store_speed.one_pass,
    "warm": store_speed.warm,
    "new-process": store_speed.new_process,
    "search": store_speed.search,
    "store-size": store_speed.store_size,
    "files": reading_speed.files,
    "segments": reading_speed.segments,
    "log-mel": reading_speed.log_mel,
    "fit-emohrnet": training_speed.fit_emohrnet,
    "fit-fusion": training_speed.fit_fusion,
    "fit-distilled": training_speed.fit_distilled,
    "fit-concordance": training_speed.fit_concordance,
    "emohrnet": training_speed.emohrnet,
    "linear-fusion": training_speed.linear_fusion,
    "imports": process_cost.imports,
    "memory": process_cost.memory,
}
# What the mode "smoke" runs; the others have nothing to count, or need more than seconds.
COUNTED = ["wavlm", "whisper", "encodec", "one-pass", "warm", "search", "store-size", "files"]
COUNTED += ["segments", "fit-emohrnet", "fit-fusion", "fit-distilled", "fit-concordance"]


def main(arguments=None):
    """Measure or count, and return the exit status."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if options.smoke:
            return count(Bench("smoke", folder), options.only or COUNTED)
        bench = Bench(
            "quick" if options.quick else "full",
            folder,
            data=options.data,
            weights=options.weights,
            device=options.device,
        )
        machine = describe_machine(bench.device)
        rates = matrix_rates(bench, measure)
        rows, missing = run(bench, options.only or list(CLAIMS))
    report(machine, rates, rows, missing)
    if options.results is not None:
        options.results.write_text(json.dumps(as_json(machine, rates, rows, missing), indent=1))
    return 0


def parse(arguments):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=CLAIMS, help=", ".join(CLAIMS))
    parser.add_argument("--quick", action="store_true", help="few recordings, three runs")
    parser.add_argument("--smoke", action="store_true", help="count, do not measure")
    parser.add_argument("--results", type=Path, help="JSON file to write")
    parser.add_argument("--device", default="cpu", help="device of the networks")
    for kind in ("data", "weights"):
        variable = f"SKLEARN_SER_{kind.upper()}"
        parser.add_argument(f"--{kind}", default=os.environ.get(variable), help=variable)
    return parser.parse_args(arguments)


def count(bench, names):
    """Check the counts, and return the exit status."""
    n_wrong = 0
    for name in names:
        bench.counts.clear()
        _, missing = run(bench, [name])
        for reason in missing.values():
            print(f"{name}: NOT counted: {reason}")
            n_wrong += 1
        for what, found, promised in bench.counts:
            is_wrong = found != promised
            print(f"{name}: {what}: {found}{f', NOT {promised}' if is_wrong else ''}")
            n_wrong += is_wrong
    return int(n_wrong > 0)


def run(bench, names):
    """Return the rows of claims, and the reasons why others are not measured."""
    rows, missing = {}, {}

    def collect(name):
        try:
            rows[name] = list(CLAIMS[name](bench))
        except (NotMeasured, ImportError) as reason:
            missing[name] = str(reason)

    for name in names:
        took = measure(partial(collect, name))
        if not bench.is_smoke:
            times = f"{took.wall:.0f} s, {took.cpu:.0f} s of CPU"
            print(f"{name}: {times}", file=sys.stderr, flush=True)
    return rows, missing


def report(machine, rates, rows, missing):
    """Print the tables."""
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(", ".join(f"{label}: {max(values):.0f} GFLOP/s" for label, values in rates.items()))
    print("\n| claim | against | goal | by wall-clock time | by CPU time | reached |")
    print("|---|---|---|---|---|---|")
    for row in (row for found in rows.values() for row in found):
        print(row)
    for name, reason in missing.items():
        print(f"\nNot measured: {name} ({reason}).")


def as_json(machine, rates, rows, missing):
    """Return all that was measured, in plain types."""
    return {
        "machine": machine,
        "gflops": rates,
        "claims": {name: [as_dict(row) for row in found] for name, found in rows.items()},
        "not measured": missing,
    }


def as_dict(row):
    """Return a row in plain types."""
    runs = {name: [seconds._asdict() for seconds in times] for name, times in row.runs.items()}
    goal = row.goal and str(row.goal)
    return {**row._asdict(), "goal": goal, "reached": row.is_reached, "runs": runs}


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(main())
