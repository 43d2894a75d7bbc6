"""Colours, markers and axes of the displays."""

from sklearn_ser._extras import install_hint

# The colour-blind-safe palette of Okabe and Ito, without yellow, which is hard to see on white.
# Combinations with the five markers repeat after 35 classes.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v")


def new_axes(display, width=6.4):
    """Create a figure for a display, `width` inches wide, and return its axes."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib. {install_hint('plot')}"
        ) from error
    return plt.subplots(figsize=(width, 4.8), layout="constrained")[1]
