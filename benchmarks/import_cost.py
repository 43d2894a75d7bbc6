"""Time `import sklearn_ser` and `import sklearn.base`, alternately in new processes."""

import statistics
import subprocess
import sys
import time

N_RUNS = 15


def seconds(statement):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main():
    statements = ["import sklearn.base", "import sklearn_ser", "pass"]
    runs = {statement: [] for statement in statements}
    for number in range(N_RUNS + 1):
        for statement in statements:
            elapsed = seconds(statement)
            if number:  # the first run warms the disk cache
                runs[statement].append(elapsed)
    for statement, times in runs.items():
        print(f"{statement:20} median {statistics.median(times):.3f} s of {N_RUNS}")
    base, ours = runs["import sklearn.base"], runs["import sklearn_ser"]
    ratio = statistics.median(a / b for a, b in zip(ours, base, strict=True))
    print(f"import sklearn_ser / import sklearn.base: {ratio:.3f}")


if __name__ == "__main__":
    main()
