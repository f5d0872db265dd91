"""A user's own training script: it fits a line by gradient descent, and knows no Kubernetes.

Run it on a laptop (``python fit_line.py``), into a pipe (``python fit_line.py | cat``), or in a
pod (``headway run custom -- python fit_line.py``).
"""

import argparse
import random
import time

import headway


def main() -> None:
    """Fit ``y = 3x - 1`` to noisy samples."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--seconds-per-batch", type=float, default=0.01)
    args = parser.parse_args()

    random.seed(7)
    slope, offset, rate = 0.0, 0.0, 0.05
    with headway.operation() as op:
        for _epoch in op.epochs(args.epochs):
            loss = 0.0
            for _batch in op.batches(range(args.batches)):
                x = random.uniform(-1, 1)
                error = slope * x + offset - (3 * x - 1 + random.gauss(0, 0.05))
                slope -= rate * error * x
                offset -= rate * error
                loss += error * error / args.batches
                time.sleep(args.seconds_per_batch)  # a real model takes its time here
            op.metrics(loss=loss)
    verdict = "stopped" if op.stopped else "done"
    print(f"{verdict}: y = {slope:.2f}x {offset:+.2f}")


if __name__ == "__main__":
    main()
