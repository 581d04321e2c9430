"""How much a group of strokes looks like a digit, before any network is asked."""

import json
from pathlib import Path

import cv2
import numpy as np

from tiny_mnist.inference.hypotheses import Group
from tiny_mnist.inference.image_io import RGBImage
from tiny_mnist.inference.mnist_format import bounding_box
from tiny_mnist.inference.paper import Mask, shrink

OFF_SHEET_PENALTY = 1.0  # subtracted where there is a sheet and the hypothesis ignores it
ONE_DIGIT_FEATURES = ("log_excess_width", "log_part_of_ink")
FILE = Path(__file__).with_name("digit_score.json")
"""JSON with `weights` and `fit`; `fit` is null because these weights predate the record."""
WEIGHTS: dict[str, float] = json.loads(FILE.read_text())["weights"]


def digit_scores(group: Group) -> tuple[float, float]:
    """How much a group of strokes looks like ink of a pen, as one digit and as several.

    Larger is better. The second score is without the features that tell against a group that is
    wider than high: it may be several digits.

    A logistic regression on `digit_features`: whether the digit was read right, over the
    hypotheses for rendered pictures (research/fit_digit_score.py).
    """
    terms = {name: WEIGHTS[name] * value for name, value in digit_features(group).items()}
    score = WEIGHTS["intercept"] + sum(terms.values()) - OFF_SHEET_PENALTY * group.off_sheet
    return score, score - sum(terms[name] for name in ONE_DIGIT_FEATURES)


def digit_features(group: Group) -> dict[str, float]:
    """What tells a digit from a shadow, a table's edge or the paper within a loop."""
    _, segmentation, ink, mask, _ = group
    contrast = segmentation.contrast
    box = bounding_box(mask)
    inside = slice(box.top, box.bottom), slice(box.left, box.right)
    part = np.pad(mask[inside], 1).astype(np.uint8)
    distance = cv2.distanceTransform(part, cv2.DIST_L2, 5)
    ridge = distance[(distance >= cv2.dilate(distance, np.ones((3, 3)))) & (distance > 0)]
    stroke = 2 * float(ridge.mean())
    edge = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    local = np.ascontiguousarray(contrast[inside])
    strength = float(np.median(local[mask[inside]]))
    slope = np.hypot(cv2.Sobel(local, -1, 1, 0), cv2.Sobel(local, -1, 0, 1)) / 8
    sharpness = float(np.median(slope[edge])) / max(strength, 1e-6)
    on_rim = float((mask & segmentation.rim).sum()) / (2 * (box.width + box.height))
    log_size = float(np.log(box.size / max(mask.shape)))
    return {
        "log_contrast": float(np.log(max(strength, 1e-3))),
        "log_sharpness": float(np.log(sharpness * stroke + 1e-3)),
        "stroke_variation": float(ridge.std() / ridge.mean()),
        "on_rim": on_rim,
        "log_size": log_size,
        "stroke_excess": max(0.0, stroke / box.size - 0.3),
        "darkness": relative_darkness(mask, segmentation.dark_on_light),
        "log_excess_width": max(0.0, float(np.log(box.width / box.height))),
        "log_part_of_ink": float(np.log(mask.sum() / ink.sum())),
        "touches_rim": float(on_rim > 0),
        "log_size_if_touching": log_size * (on_rim > 0),
    }


def relative_darkness(mask: Mask, picture: RGBImage) -> float:
    """Whether this is darker than the rest of the picture: 1 for ink, 0 for paper in a loop."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    around = cv2.resize(cv2.medianBlur(shrink(grey, 64), 33), grey.shape[::-1])
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    ring = grey[cv2.dilate(near, np.ones((5, 5), np.uint8)) > near]
    dark = float(np.median(grey[mask]))
    light = float(np.quantile(ring, 0.7)) if ring.size else 255.0
    span = max(light - dark, 1.0)
    levels = (float(np.median(border)), float(np.median(around[mask])))
    return sum(float(np.clip((level - dark) / span, 0, 1)) for level in levels) / 2
