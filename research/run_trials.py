"""Runs trials of recipes on held-out training images and appends them to research/trials.jsonl.

    python -m research.run_trials                                      lists the recipes
    python -m research.run_trials sgd-mild base --seeds 0 1 2          pairs on 20,000 images
    python -m research.run_trials sgd-mild --set optim.max_lr=0.3 --as sgd-rate-0.3

Each trial is a run of `train.py`. Trials that are in the file are skipped, and killed runs are
resumed. Equal seeds hold out the same images and begin with the same weights, so that trials of two
recipes with one seed make a pair: `python -m research.trials` compares them.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from benchmarks.contestant import PROJECT

from research.trials import TRIALS, Trial, read_trials
from tiny_mnist.data import MNISTDataModule
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.runs import RunFolder, load_network

FOLDER = PROJECT / "runs" / "trials"
HELD_OUT = 20_000  # images; 15 epochs of the others are as many steps as 10 epochs of all
WEAK = ("data.rotation=7", "data.translation=0.5", "data.scale=0.07", "data.shear=6")
STRONG = ("data.rotation=12", "data.scale=0.12", "data.shear=10", "data.elastic=0.6")
BEST = ("experiment=best",)
RECIPES: dict[str, tuple[int, tuple[str, ...]]] = {
    "base": (15, ()),
    "base-30": (45, ()),
    "sgd-mild": (15, BEST),
    "sgd-30": (45, BEST),
    "sgd-60": (90, BEST),
    "sgd-30-strong": (45, (*BEST, *STRONG)),
    "sgd-weak": (15, (*BEST, *WEAK, "data.elastic=0.3")),
    "sgd-weak-rate-0.3": (15, (*BEST, *WEAK, "data.elastic=0.3", "optim.max_lr=0.3")),
    "sgd-bs64": (15, (*BEST, "data.batch_size=64", "optim.max_lr=0.1")),
    "sgd-decay-2e-3": (15, (*BEST, "optim.optimizer.weight_decay=2e-3")),
    "sgd-decay-1e-4": (15, (*BEST, "optim.optimizer.weight_decay=1e-4")),
    "sgd-decay-1e-4-linear": (
        15,
        (
            *BEST, "optim.optimizer.weight_decay=1e-4", "optim.scheduler.pct_start=0.15",
            "+optim.scheduler.anneal_strategy=linear",
        ),
    ),
    "wide-24": (15, (*BEST, "model.width=24")),
}  # fmt: skip
"""Epochs of 40,000 images, and the overrides of `train.py`, by the name of the trial."""


def run_trial(name: str, overrides: list[str], seed: int, command: str) -> Trial:
    """Train one recipe, or resume it; the line of its trial."""
    run = RunFolder(FOLDER / f"{name}_{HELD_OUT}_{seed}")
    if not run.summary.exists():
        arguments = (
            [f"resume={run.path}"]
            if run.configuration.exists()
            else [
                *overrides, f"data.val_size={HELD_OUT}", f"seed={seed}", f"hydra.run.dir={run.path}"
            ]
        )  # fmt: skip
        subprocess.run([sys.executable, "train.py", *arguments], cwd=PROJECT, check=True)
    summary = json.loads(run.summary.read_text())
    return {
        "name": name,
        "held_out": HELD_OUT,
        "split": seed,
        "seed": seed,
        "steps": summary["steps"],
        **{key: summary[key] for key in ("val_loss", "val_accuracy", "train_loss")},
        "train_accuracy": summary["train_accuracy"],
        "wrong": wrong_images(run, seed),
        "command": command,
        "overrides": overrides,
        "commit": summary["commit"],
    }


def wrong_images(run: RunFolder, seed: int) -> list[int]:
    """Indices of the held-out training images that the network reads wrong."""
    data: Any = MNISTDataModule(val_size=HELD_OUT, val_seed=seed)
    data.setup("validate")
    indices = data.val_indices
    images, labels = data.images.train_images[indices], data.mnist.train_labels[indices]
    read = predict(load_network(run), images).argmax(dim=1)
    return sorted(int(index) for index in indices[read != labels])


def append(path: Path, trial: Trial) -> None:
    """Add a line to the file of trials."""
    with path.open("a") as file:
        file.write(json.dumps(trial) + "\n")


def main() -> None:
    """Run the trials named on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", nargs="+", default=[], metavar="OVERRIDE", dest="extra")
    parser.add_argument("--as", dest="new_name", help="the name of a recipe changed by --set")
    options = parser.parse_args()
    if unknown := [name for name in options.recipes if name not in RECIPES]:
        parser.error(f"no recipe {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    if options.extra and (len(options.recipes) != 1 or not options.new_name):
        parser.error("--set changes one recipe and needs a new name: --as NAME")
    if not options.recipes:
        for name, (epochs, overrides) in RECIPES.items():
            print(f"{name:24} {epochs:3} epochs  {' '.join(overrides)}")
    torch.set_num_threads(1)
    for seed in options.seeds:
        for recipe in options.recipes:
            epochs, overrides = RECIPES[recipe]
            name = options.new_name or recipe
            key = (name, HELD_OUT, seed, seed)
            known = {(t["name"], t["held_out"], t["split"], t["seed"]) for t in read_trials()}
            if key in known:
                print(f"{name}, seed {seed}: already in {TRIALS}")
                continue
            arguments = [*overrides, f"trainer.max_epochs={epochs}", *options.extra]
            changed = ["--set", *options.extra, "--as", name] if options.extra else []
            command = [
                "python",
                "-m",
                "research.run_trials",
                recipe,
                "--seeds",
                str(seed),
                *changed,
            ]
            append(TRIALS, run_trial(name, arguments, seed, shlex.join(command)))


if __name__ == "__main__":
    main()
