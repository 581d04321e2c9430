"""Train the network that reads a row of digits as a whole, and put it into the package.

python -m research.train_row_reader --fonts FOLDER

It is trained with connectionist temporal classification on strips of rendered rows, of one to ten
digits, many of which touch or have symbols of fonts beside them, and of non-digits, whose text is
empty. The digits are strokes, MNIST's first 50,000 training images and handwriting fonts. A card
beside the network records what it was trained on and how many held-out strips are read wrong.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.pictures.strips import LabelledStrip, render_strips
from research.save_network import save_network
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.segmentation.row_reader import BLANK, STRIP_HEIGHT, decode_text
from tiny_mnist.system.memory import tune_malloc

BATCH = 64  # strips
RATE = 3e-3  # AdamW's peak learning rate
MAX_GRADIENT = 5.0  # norm of the gradient above which it is scaled down
DILATIONS = (1, 2, 4, 8)
"""Distances, in columns, of the five inputs of each context block: the last one sees some four
digits on either side, which tell how the same hand writes."""


class RowReader(nn.Module):
    """Strips, light on black, to the log-probabilities of ten digits and a blank in each column.

    Columns are two pixels wide. The height is halved three times and then taken in one step.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv_block(1, width, 2),
            *conv_block(width, 2 * width, (2, 1)),
            *conv_block(2 * width, 2 * width, (2, 1)),
            *conv_block(2 * width, 4 * width, None),
        )
        channels, rows = 6 * width, STRIP_HEIGHT // 8
        self.column = nn.Sequential(
            nn.Conv2d(4 * width, channels, (rows, 1), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.context = nn.Sequential(
            *(ContextBlock(channels, dilation) for dilation in DILATIONS),
            nn.Conv1d(channels, BLANK + 1, 1),
        )

    def forward(self, strips: Tensor) -> Tensor:
        """Log-probabilities, [n, columns, 11], of uint8 strips, [n, 32, 2 × columns]."""
        columns = self.column(self.features(strips[:, None].float() / 255)).squeeze(2)
        return F.log_softmax(self.context(columns), dim=1).transpose(1, 2)


class ContextBlock(nn.Module):
    """A convolution over five columns, whose result is added to its input, [n, channels, columns].

    Args:
        channels: of the input and of the result.
        dilation: distance between neighbours of the five columns.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Dropout(0.1),
        )

    def forward(self, columns: Tensor) -> Tensor:
        """The input plus what is seen beside each column."""
        beside: Tensor = self.block(columns)
        return columns + beside


def conv_block(inputs: int, outputs: int, pool: int | tuple[int, int] | None) -> list[nn.Module]:
    """Convolution, batch norm, ReLU, pooling."""
    pooling = [] if pool is None else [nn.MaxPool2d(pool)]
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(), *pooling]


def augment(strips: Tensor) -> Tensor:
    """The strips sheared, stretched in height, shifted, bent, and with other greys."""
    count, height, width = strips.shape
    motion = torch.zeros(count, 2, 3)
    motion[:, 0, 0] = 1
    motion[:, 0, 1] = 0.1 * torch.randn(count) * height / width
    motion[:, 1, 1] = 1 + 0.06 * torch.randn(count)
    motion[:, 1, 2] = 2 / height * torch.randn(count)
    grid = F.affine_grid(motion, [count, 1, height, width], align_corners=False)
    bend = F.interpolate(
        torch.randn(count, 2, 4, max(2, width // 10)), (height, width), mode="bicubic"
    )
    grid += 0.8 * bend.permute(0, 2, 3, 1) / torch.tensor([width, height])
    moved = F.grid_sample(strips[:, None].float(), grid, align_corners=False)[:, 0]
    return (moved * (0.6 + 1.2 * torch.rand(count, 1, 1))).clamp(0, 255)


def make_batches(
    strips: list[LabelledStrip], rng: np.random.Generator
) -> Iterator[tuple[Tensor, list[str], Tensor]]:
    """Batches of strips of about one width, in random order: images, texts, columns of each."""
    widths = np.array([strip.shape[1] for strip, _ in strips])
    order = np.argsort(widths + rng.integers(0, 24, len(widths)), kind="stable")
    groups = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    for place in rng.permutation(len(groups)):
        group = [strips[index] for index in groups[place]]
        images = np.zeros((len(group), STRIP_HEIGHT, widths[groups[place]].max()), np.uint8)
        for image, (strip, _) in zip(images, group, strict=True):
            image[:, : strip.shape[1]] = strip
        columns = torch.from_numpy(widths[groups[place]] // 2)
        yield torch.from_numpy(images), [text for _, text in group], columns


def ctc_loss(log_probs: Tensor, texts: list[str], columns: Tensor) -> Tensor:
    """Mean negative log-probability of a text."""
    digits = torch.tensor([int(digit) for text in texts for digit in text], dtype=torch.long)
    lengths = torch.tensor([len(text) for text in texts])
    total = F.ctc_loss(
        log_probs.transpose(0, 1), digits, columns, lengths, BLANK, "sum", zero_infinity=True
    )
    return total / len(texts)


def fit(model: RowReader, strips: list[LabelledStrip], steps: int) -> None:
    """Train with AdamW and one cycle of the learning rate."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.15)
    endless = chain.from_iterable(iter(partial(make_batches, strips, rng), None))
    model.to(memory_format=torch.channels_last).train()  # a quarter faster on CPUs
    for step, (images, texts, columns) in zip(range(1, steps + 1), endless, strict=False):
        loss = ctc_loss(model(augment(images)), texts, columns)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT)
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)


def count_misread(model: RowReader, strips: list[LabelledStrip]) -> int:
    """How many strips are read wrong."""
    model.eval()
    with torch.inference_mode():
        return sum(
            "".join(map(str, decode_text(model(torch.from_numpy(strip)[None])[0].numpy()))) != text
            for strip, text in strips
        )


def main() -> None:
    """Render, train, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts")
    parser.add_argument("--chunks", type=int, default=240, help="of 500 rows; two are held out")
    parser.add_argument("--jobs", type=int, default=2, help="processes that render")
    parser.add_argument("--steps", type=int, default=14_000, help="batches of 64 strips")
    parser.add_argument("--width", type=int, default=24, help="channels of the first convolution")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=pretrained.ROW_READER, help="ONNX file")
    options = parser.parse_args()
    tune_malloc()
    torch.manual_seed(options.seed)
    seeds = [(options.seed, number) for number in range(options.chunks)]
    with ProcessPoolExecutor(options.jobs) as pool:
        chunks = list(pool.map(partial(render_strips, options.fonts), seeds))
    held, strips = list(chain(*chunks[:2])), list(chain(*chunks[2:]))
    print(f"{len(strips)} strips", flush=True)
    model = RowReader(options.width)
    fit(model, strips, options.steps)
    misread = count_misread(model, held)
    card = {
        "seed": options.seed,
        "chunks": options.chunks,
        "strips": len(strips),
        "steps": options.steps,
        "width": options.width,
        "held_out_strips": len(held),
        "held_out_misread_percent": round(100 * misread / len(held), 2),
    }
    axes = {"strips": {0: "batch", 2: "width"}, "log_probs": {0: "batch", 1: "columns"}}
    save_network(
        model,
        torch.zeros(1, STRIP_HEIGHT, 64, dtype=torch.uint8),
        axes,
        options.out,
        options.fonts,
        card,
    )


if __name__ == "__main__":
    main()
