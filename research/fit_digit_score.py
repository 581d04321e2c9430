"""Fit the weights of the score that chooses among hypotheses, and put them into the package.

python -m research.fit_digit_score --fonts FOLDER [--check]

A logistic regression over rendered pictures of one digit and of none: whether the largest group of
strokes under a hypothesis is read as the digit, from `digit_features`. The file records beside the
weights what they were fitted to. With --check, nothing is written, and the exit status tells
whether the weights in the package are those of the fit.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from research.pictures.digits import font_files, load_shapes
from research.pictures.non_digits import blank
from research.pictures.numbers import make_draw
from research.pictures.scenes import SCENES
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.detect import LARGE_SIDE, MAX_SCREEN_SIDE, resize
from tiny_mnist.inference.digit_score import FILE, WEIGHTS, digit_features
from tiny_mnist.inference.hypotheses import find_groups
from tiny_mnist.inference.image_io import to_rgb
from tiny_mnist.inference.mnist_format import draw_mask
from tiny_mnist.inference.paper import SEARCH_SIDE
from tiny_mnist.inference.segmentation.reading import score_images
from tiny_mnist.runs.metadata import git_commit
from tiny_mnist.system.atomic_files import write_json

SEED = 20_000
STRENGTH = 1.0  # of the regression's prior: scikit-learn's C
DECIMALS = 2


def render_features(each: int, fonts: Path | None) -> Iterator[tuple[dict[str, float], bool]]:
    """The features of each hypothesis of each picture, and whether the digit is read."""
    shapes = load_shapes(fonts)
    names = list(shapes)
    for place, scene in enumerate([*SCENES.values(), None]):
        rng = np.random.default_rng([SEED, place])
        for number in range(each):
            draw = make_draw(shapes[names[rng.integers(len(names))]], number % 10, rng)
            picture = blank(rng) if scene is None else scene(draw, rng)
            pixels = to_rgb(picture)
            coarse, _ = resize(resize(pixels, LARGE_SIDE)[0], SEARCH_SIDE)
            for group in find_groups(coarse, max(pixels.shape[:2]) <= MAX_SCREEN_SIDE):
                read = int(score_images(draw_mask(group.mask)[None])[0].argmax())
                right = scene is not None and read == number % 10
                yield digit_features(group), right


def fit(each: int, fonts: Path | None) -> tuple[dict[str, float], dict[str, Any]]:
    """The intercept and the weights, by name; and what they were fitted to."""
    found = list(render_features(each, fonts))
    names = list(found[0][0])
    features = np.array([[one[name] for name in names] for one, _ in found])
    right = np.array([was_right for _, was_right in found])
    deviation = np.maximum(features.std(axis=0), 1e-6)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(features / deviation, right)
    weights = model.coef_[0] / deviation
    told_apart = float((model.predict(features / deviation) == right).mean())
    print(f"{len(found)} hypotheses, {right.mean():.1%} of them show the digit")
    print(f"told apart: {told_apart:.1%}")
    card = {
        "seed": SEED,
        "pictures_of_each_kind": each,
        "fonts": [path.name for path in font_files(fonts)] if fonts else [],
        "hypotheses": len(found),
        "told_apart": round(told_apart, 4),
        "verifier_sha256": hashlib.sha256(pretrained.VERIFIER.read_bytes()).hexdigest(),
        "commit": git_commit(),
    }
    values = {"intercept": float(model.intercept_[0])}
    values |= {name: float(w) for name, w in zip(names, weights, strict=True)}
    return {name: round(value, DECIMALS) for name, value in values.items()}, card


def main() -> None:
    """Fit, then write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts")
    parser.add_argument("--each", type=int, default=24, help="pictures of each kind")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    weights, card = fit(options.each, options.fonts)
    for name, value in weights.items():
        print(f"{name:20} {value:7.2f}  was {WEIGHTS[name]:7.2f}")
    if options.check:
        sys.exit(weights != WEIGHTS)
    write_json(FILE, {"weights": weights, "fit": card})


if __name__ == "__main__":
    main()
