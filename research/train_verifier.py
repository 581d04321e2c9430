"""Train the network that tells digits from everything else, and put it into the package.

python -m research.train_verifier --fonts FOLDER

It has the ten digits and an eleventh class: neighbours taken together, parts of digits, letters,
scribbles, separators, corners of grids. The images are pieces of rendered rows, found as
`tiny_mnist.inference` finds them, and some of MNIST's training images as they are. The rows show
strokes, MNIST's first 50,000 training images and, where there are any, handwriting fonts.
"""

import argparse
import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from research.pictures.digits import Shape, font_files, glyphs, sources
from research.pictures.labelled import MIN_INK, OTHER, damaged, lone_digit, row_candidates
from research.pictures.non_digits import grid_corner, letter, scribble
from research.pictures.numbers import resized_to, separator
from tiny_mnist.data import download
from tiny_mnist.data.transforms import normalize
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.mnist_format import draw_mask
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.system.atomic_files import atomic_write

TRAIN_IMAGES = slice(0, 50_000)
MNIST_IMAGES = 15_000  # of these, taken as they are
CHUNK = 60  # rows that one process renders at a time

Sample = tuple[NDArray[np.bool_], int]
"""Ink and class."""


def row_samples(shape: Shape, rng: np.random.Generator) -> Iterator[Sample]:
    """The digits of a row, about as many other runs of its pieces, and two digits alone."""
    found = [one for one in row_candidates(shape, rng) if one.mask.sum() >= MIN_INK]
    digits = [one for one in found if 0 <= one.label < OTHER]
    others = [one for one in found if one.label == OTHER]
    kept = rng.permutation(len(others))[: 2 + round(1.3 * len(digits))]
    for one in [*digits, *(others[index] for index in kept)]:
        yield one.mask, one.label
    for digit in rng.integers(10, size=2):
        yield lone_digit(shape, int(digit), rng), int(digit)


def other_samples(fonts: list[Path], rng: np.random.Generator) -> Iterator[Sample]:
    """Letters, scribbles, corners of grids, separators and blots."""
    masks = [scribble(rng), grid_corner(rng), separator(80, rng.uniform(0.05, 0.1), rng)[0]]
    if fonts:
        masks += [letter(glyphs(fonts), rng) for _ in range(3)]
    blot = cv2.GaussianBlur(rng.standard_normal((80, 80)).astype(np.float32), (0, 0), 14)
    masks.append(np.asarray((blot > np.quantile(blot, 0.7)) * 255, np.uint8))
    for mask in masks:
        yield damaged(np.pad(resized_to(mask, int(rng.uniform(40, 90))), 4), rng), OTHER


def render_chunk(fonts: Path | None, seed: tuple[int, int]) -> tuple[NDArray[np.uint8], list[int]]:
    """Images in MNIST's format and their classes, from `CHUNK` rows."""
    rng = np.random.default_rng(seed)
    shapes = sources(fonts, TRAIN_IMAGES)
    files = font_files(fonts) if fonts else []
    images, labels = [], []
    for number in range(CHUNK):
        shape = shapes[list(shapes)[rng.integers(len(shapes))]]
        found = list(row_samples(shape, rng))
        if number % 3 == 0:
            found += other_samples(files, rng)
        for mask, label in found:
            if mask.sum() >= MIN_INK:
                images.append(draw_mask(mask))
                labels.append(label)
    return np.stack(images), labels


def samples(
    fonts: Path | None, rows: int, seed: int, jobs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in MNIST's format and their classes: rendered ones, and MNIST's own."""
    seeds = [(seed, number) for number in range(rows // CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        chunks = list(pool.map(partial(render_chunk, fonts), seeds))
    mnist = download.load(download.default_root())
    images = [torch.from_numpy(images) for images, _ in chunks]
    labels = [torch.tensor(labels) for _, labels in chunks]
    return (
        torch.cat([*images, mnist.train_images[:MNIST_IMAGES]]),
        torch.cat([*labels, mnist.train_labels[:MNIST_IMAGES]]),
    )


class Verifier(nn.Module):
    """Raw images, light on black, to the log-probabilities of ten digits and of none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.network = TinyCNN(width)
        self.network.head = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * width, OTHER + 1), nn.LogSoftmax(dim=1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Log-probabilities, [n, 11], of uint8 images, [n, 28, 28]."""
        result: torch.Tensor = self.network(normalize(images))
        return result


def fit(model: Verifier, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    """Train with AdamW and one cycle of the learning rate; prints the held-out error."""
    rng = torch.Generator().manual_seed(0)
    held = torch.rand(len(labels), generator=rng) < 0.05
    train_x, train_y = images[~held], labels[~held]
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.01)
    steps = epochs * (len(train_y) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(train_y), generator=rng)
        for batch in order[: len(order) // 128 * 128].split(128):
            log_probs = model(train_x[batch])
            loss = nn.functional.nll_loss(log_probs, train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.inference_mode():
            predicted = torch.cat([model(part) for part in images[held].split(1000)]).argmax(1)
        digit = labels[held] != OTHER
        right = predicted == labels[held]
        print(
            f"epoch {epoch}: digits {100 * right[digit].float().mean():.2f} %, "
            f"others {100 * right[~digit].float().mean():.2f} %",
            flush=True,
        )


def main() -> None:
    """Render, train, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts")
    parser.add_argument("--rows", type=int, default=6_000, help="rendered rows of digits")
    parser.add_argument("--jobs", type=int, default=2, help="processes that render")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--width", type=int, default=12, help="channels of the first convolution")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    images, labels = samples(options.fonts, options.rows, options.seed, options.jobs)
    print(f"{len(labels)} images, {int((labels == OTHER).sum())} of them not digits", flush=True)
    model = Verifier(options.width).to(memory_format=torch.channels_last)
    fit(model, images, labels, options.epochs)
    file = io.BytesIO()
    torch.onnx.export(
        model.eval(),
        (images[:2],),
        file,  # type: ignore[arg-type]
        input_names=["images"],
        output_names=["log_probs"],
        dynamic_axes={"images": {0: "batch"}, "log_probs": {0: "batch"}},
        dynamo=False,
    )
    with atomic_write(pretrained.VERIFIER) as target:
        target.write(file.getvalue())


if __name__ == "__main__":
    main()
