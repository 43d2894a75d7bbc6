"""Measurements of the figures in docs/benchmarks.md. `python -m benchmarks` measures all ratios."""
