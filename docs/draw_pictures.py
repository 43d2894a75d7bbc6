"""Draw the pictures in `_static`, which the README and the guide show.

``python docs/draw_pictures.py`` draws them anew from an example and from a table of the guide.
"""

import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).parent
NO_NETWORK = 0.6  # where it stands on the axis of millions of weights


def read_recalls():
    """Return name, size and recalls of each row of the table "What they reach"."""
    text = (DOCS / "guide/choosing.md").read_text().split("## What they reach")[1]
    table = re.findall(r"^\| (.+) \| (.*) ?\| (.*) ?\| (.+) \|$", text, re.MULTILINE)
    for name, *recalls, size in table:
        found = re.match(r"[\d.]+", size)
        numbers = [[float(n) for n in re.findall(r"\.\d+", recall)] for recall in recalls]
        yield name.replace("`", ""), float(found[0]) if found else NO_NETWORK, numbers


def draw_recall_over_size():
    """Draw the recall of each pipeline over the size of its network, on two corpora."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 5.2), sharey=True, layout="constrained")
    seen = {}
    for number, (name, size, recalls) in enumerate(read_recalls()):
        shift = seen[size] = seen.get(size, 0.87) * 1.15  # side by side if equally large
        for axis, recall in zip(axes, recalls, strict=True):
            score, *interval = recall or [float("nan")]
            errors = [[score - interval[0]], [interval[1] - score]] if interval else None
            style = {"fmt": "osD^vP*X"[number], "color": f"C{number}", "capsize": 3}
            axis.errorbar(size * shift, score, errors, markersize=8, label=name, **style)
    for axis, corpus, chance in zip(axes, ("Emo-DB", "RAVDESS"), (1 / 7, 1 / 8), strict=True):
        axis.axhline(chance, color="grey", linestyle=":", label="chance")
        axis.set(title=corpus, xscale="log", xlabel="weights of the network, millions", ylim=(0, 1))
        axis.set_xticks([NO_NETWORK, 1, 2, 5, 10, 20], ["none", "1", "2", "5", "10", "20"])
        axis.minorticks_off()
    axes[0].set_ylabel("recall, speakers held out")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize="small")
    save(figure, "recall_over_size")


def draw_poincare_disk():
    """Draw the first picture of the example of the Poincaré disk."""
    runpy.run_path(str(DOCS.parent / "examples/plot_poincare_disk.py"))
    save(plt.figure(1), "poincare_disk")


def save(figure, name):
    """Save a figure, the same bytes for the same picture, and close all."""
    figure.savefig(DOCS / f"_static/{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close("all")


if __name__ == "__main__":
    plt.switch_backend("Agg")
    plt.rcParams["svg.hashsalt"] = "sklearn_ser"
    draw_recall_over_size()
    draw_poincare_disk()
