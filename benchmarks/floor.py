"""The arithmetic floor: FLOP of a training step over the FLOP/s of a large matrix product."""

from time import perf_counter

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contestant import BATCH, Job, Result, main
from tiny_mnist.models.tiny_cnn import TinyCNN

MATRIX_SIDE = 2048  # of the square matrices
TRIES = 20  # the best counts: a peak is what nothing disturbs


def measure(job: Job) -> Result:
    """Images a second if every FLOP ran at the peak, with torch's own number of threads."""
    flop, peak = count_flop_per_image(), measure_peak_flops()
    return {
        "images": 1,
        "seconds": flop / peak,
        "flop_per_image": flop,
        "peak_gflops": peak / 1e9,
        "threads": torch.get_num_threads(),
    }


def count_flop_per_image() -> float:
    """Floating-point operations of convolutions and matrix products, forward and backward."""
    model = TinyCNN()
    with FlopCounterMode(display=False) as counter:
        F.nll_loss(model(torch.zeros(BATCH, 1, 28, 28)), torch.zeros(BATCH).long()).backward()
    return float(counter.get_total_flops()) / BATCH


def measure_peak_flops() -> float:
    """FLOP/s of a large float32 matrix product."""
    a, b, product = (torch.rand(MATRIX_SIDE, MATRIX_SIDE) for _ in range(3))
    best = float("inf")
    for _ in range(TRIES):
        started = perf_counter()
        torch.mm(a, b, out=product)
        best = min(best, perf_counter() - started)
    return 2 * MATRIX_SIDE**3 / best


if __name__ == "__main__":
    main(measure)
