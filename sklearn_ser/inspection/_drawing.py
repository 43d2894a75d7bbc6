"""What the displays draw with: colours, markers, new axes."""

from sklearn_ser._extras import install_hint

# Okabe and Ito's colours, which colour-blind readers tell apart, without the yellow that paper
# swallows. With the five markers they repeat after 35.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v")


def new_axes(display, width=6.4):
    """Make a figure, `width` inches wide, for a display, and return its axes."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib. {install_hint('plot')}"
        ) from error
    return plt.subplots(figsize=(width, 4.8), layout="constrained")[1]
