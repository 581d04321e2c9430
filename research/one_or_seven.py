"""How many rendered 1s and 7s are taken for other digits, by the bonus of narrow 1s.

python -m research.one_or_seven --fonts FOLDER

`NARROW_ONE_BONUS` of `tiny_mnist.inference.predictor` was chosen on such shapes (not bent, then)
with 16 handwriting fonts that the verifier was not trained on and that are not among those of
README's table. Sources are the fonts one by one, strokes, and MNIST's last 10,000 training images.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from research.pictures.digits import Shape, font_files, fonts, load_shapes
from research.pictures.labelled import MIN_INK, lone_digit
from tiny_mnist.data import download
from tiny_mnist.inference.mnist_format import draw_mask
from tiny_mnist.inference.predictor import combine_scores, is_narrow, pretrained_network
from tiny_mnist.inference.segmentation.reading import score_images

BONUSES = 0.0, 0.5, 1.0, 1.5, 2.0


def render(
    shape: Shape, digit: int, count: int, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """So many images of a digit in MNIST's format."""
    images: list[NDArray[np.uint8]] = []
    while len(images) < count:
        mask = lone_digit(shape, digit, rng)
        if mask.sum() >= MIN_INK:
            images.append(draw_mask(mask))
    return images


def misread_parts(shape: Shape, digit: int, count: int, rng: np.random.Generator) -> list[float]:
    """The part of a digit's images that are misread, for each bonus."""
    images = np.stack(render(shape, digit, count, rng))
    probabilities = np.exp(pretrained_network()(images))
    verified = score_images(images)[:, :10]
    triples = list(zip(images, probabilities, verified, strict=True))
    return [
        float(np.mean([combine_scores(*one, bonus).argmax() != digit for one in triples]))
        for bonus in BONUSES
    ]


def main() -> None:
    """Print how narrow MNIST's digits are, and a table of misread 1s and 7s."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--fonts", type=Path, required=True, help="folder of handwriting fonts")
    parser.add_argument("--each", type=int, default=100, help="1s, and 7s, of each source")
    options = parser.parse_args()
    mnist = download.load_dataset(download.default_root())
    for digit in (1, 7):
        images = mnist.train_images[mnist.train_labels == digit].numpy().reshape(-1, 28, 28)
        print(f"MNIST's {digit}s that are narrow: {100 * np.mean([*map(is_narrow, images)]):.1f} %")
    sources = load_shapes(None)
    sources |= {path.name: fonts([path]) for path in font_files(options.fonts)}
    rng = np.random.default_rng(0)
    found = {
        name: [misread_parts(shape, digit, options.each, rng) for digit in (1, 7)]
        for name, shape in track(sources.items(), "reading")
    }
    found["mean"] = np.mean(list(found.values()), axis=0).tolist()
    table = Table("1s and 7s misread, %", *(f"bonus {bonus:g}" for bonus in BONUSES))
    for name, (ones, sevens) in found.items():
        cells = (f"{100 * a:.0f}, {100 * b:.0f}" for a, b in zip(ones, sevens, strict=True))
        table.add_row(name.partition("-latin")[0], *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
