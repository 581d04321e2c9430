"""The tables of trials in docs/results.md: what each ingredient gave on held-out training images.

python -m research.trials [--against sgd-mild]

Reads research/trials.jsonl, one line a trial. Two trials make a pair if they held out the same
images and began with the same seed.
"""

import argparse
import json
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.contestant import PROJECT

from research.results import format_markdown

TRIALS = PROJECT / "research" / "trials.jsonl"
Trial = dict[str, Any]
Pair = tuple[Trial, Trial]


def read_trials(path: Path = TRIALS) -> list[Trial]:
    """All trials of a file; none if there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def pair_key(trial: Trial) -> tuple[int, ...]:
    """What two trials of a pair have in common: images, seed, and whether they are reproducible."""
    return trial["held_out"], trial["split"], trial["seed"], trial.get("reproducible", True)


def accuracy_gain(pair: Pair) -> float:
    """How much more accurate the first of two trials is, in percentage points."""
    one, other = pair
    difference: float = one["val_accuracy"] - other["val_accuracy"]
    return difference


def standard_error(pairs: list[Pair]) -> float | None:
    """Standard error of the mean gain, from the images read differently, else from the scatter.

    Images that both read alike say nothing, as in McNemar's test (Q. McNemar, *Note on the sampling
    error of the difference between correlated proportions*, 1947).
    """
    if all("wrong" in trial for pair in pairs for trial in pair):
        differing = sum(len({*one["wrong"]} ^ {*other["wrong"]}) for one, other in pairs)
        images: int = sum(one["held_out"] for one, _ in pairs)
        return 100 * sqrt(differing) / images
    return stdev(map(accuracy_gain, pairs)) / sqrt(len(pairs)) if len(pairs) > 1 else None


def format_row(name: str, pairs: list[Pair]) -> list[str]:
    """One recipe against the other, over all its pairs."""
    error = standard_error(pairs)
    losses = [100 * (one["val_loss"] / other["val_loss"] - 1) for one, other in pairs]
    scatter = f" ± {stdev(losses) / sqrt(len(losses)):.0f}" if len(losses) > 1 else ""
    return [
        f"`{name}`",
        str(len(pairs)),
        f"{mean(map(accuracy_gain, pairs)):+.2f}"
        + (f" ± {error:.2f}" if error is not None else ""),
        f"{mean(losses):+.0f}{scatter} %",
        f"{mean(one['train_loss'] for one, _ in pairs):.4f}",
        ", ".join(f"{one['val_accuracy']:.2f} ({o['val_accuracy']:.2f})" for one, o in pairs),
    ]


def main() -> None:
    """Print a table as Markdown for each number of held-out images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", default="base", help="the recipe to compare with")
    options = parser.parse_args()
    trials = read_trials()
    references = {pair_key(trial): trial for trial in trials if trial["name"] == options.against}
    for held_out in sorted({trial["held_out"] for trial in trials}):
        pairs: dict[str, list[Pair]] = {}
        for trial in trials:
            reference = references.get(pair_key(trial))
            if trial["held_out"] == held_out and reference and trial is not reference:
                pairs.setdefault(trial["name"], []).append((trial, reference))
        if not pairs:
            continue
        header = ["name", "pairs", f"points against `{options.against}`", "held-out loss"]
        header += ["training loss", f"accuracy of each pair, % (`{options.against}`)"]
        print(f"{held_out:,} images held out\n")
        print(format_markdown(header, [format_row(name, found) for name, found in pairs.items()]))


if __name__ == "__main__":
    main()
