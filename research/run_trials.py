"""Runs trials of recipes on held-out training images and appends them to research/trials.jsonl.

    python -m research.run_trials NAME [OVERRIDE …] --seeds 0 1 2 [--held-out 20000]

A trial is a run of `train.py` with these overrides, on one thread, judged by the held-out training
images after its last epoch: no figure about test images is recorded. The name stands for the
overrides: without any, they are those of the trials of that name in the file. Trials that are in
the file are skipped, runs that were killed are resumed. Equal seeds hold out the same images and
begin with the same weights, so that trials of two recipes with one seed make a pair:
`python -m research.trials` compares them.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from benchmarks.contestant import PROJECT

from research.trials import TRIALS, Trial, read_trials
from tiny_mnist.data import MNISTDataModule
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network

FOLDER = PROJECT / "runs" / "trials"
HELD_OUT = 20_000  # images; 15 epochs of the others are as many steps as 10 epochs of all
NOT_OF_THE_RECIPE = ("trainer.limit_test_batches=1", "callbacks=none", "logger=none")
"""Nothing is evaluated or written that a trial does not need."""
FROM_SUMMARY = (
    "steps", "val_loss", "val_accuracy", "train_loss", "train_accuracy", "training_seconds",
    "weights_sha256", "device",
)  # fmt: skip


class TrialError(Exception):
    """A trial that contradicts the file of trials, or the folder of its run."""


def run_trials(
    name: str, overrides: list[str], seeds: list[int], held_out: int, trials: Path, folder: Path
) -> list[Trial]:
    """Run the trials of one recipe that are not in the file, and append them one by one.

    Args:
        name: the name of the recipe.
        overrides: overrides of `train.py`; empty for those of the earlier trials of that name.
        seeds: one trial each.
        held_out: number of training images held out.
        trials: the file of trials, one a line.
        folder: the folder of the runs.

    Returns:
        The trials that were run.

    Raises:
        TrialError: the name stands for other overrides, or for none yet.
        subprocess.CalledProcessError: a run failed.
    """
    known = [trial for trial in read_trials(trials) if trial["name"] == name]
    for trial in known:
        earlier: list[str] = trial.get("overrides", overrides)
        if overrides not in ([], earlier):
            raise TrialError(f"{name} is {shlex.join(earlier)}: choose another name")
        overrides = earlier
    if not overrides:
        raise TrialError(f"no trial {name} whose overrides could be used: name them")
    done = {(trial["held_out"], trial["seed"]) for trial in known if "command" in trial}
    made = []
    for seed in seeds:
        if (held_out, seed) in done:
            print(f"{name}, seed {seed}: already in {trials}")
            continue
        run = train(overrides, seed, held_out, folder / f"{name}_{held_out}_{seed}")
        made.append(make_trial(run, name, overrides, seed, held_out))
        with trials.open("a") as file:
            file.write(json.dumps(made[-1]) + "\n")
    return made


def train(overrides: list[str], seed: int, held_out: int, folder: Path) -> RunFolder:
    """Train one run to its end, or resume it; nothing is done if it is finished.

    Raises:
        TrialError: the folder has a run with other overrides.
    """
    run = RunFolder(folder)
    own = [*NOT_OF_THE_RECIPE, *overrides, f"data.val_size={held_out}", f"seed={seed}"]
    arguments = [*own, f"hydra.run.dir={folder}"]
    if run.configuration.exists():
        if yaml.safe_load(run.configuration.with_name("overrides.yaml").read_text()) != own:
            raise TrialError(f"{folder} holds another run: remove it, or choose another name")
        arguments = [f"resume={folder}", "trust=true"]  # classes of the overrides just compared
    if not run.summary.exists():
        subprocess.run([sys.executable, "train.py", *arguments], cwd=PROJECT, check=True)
    return run


def make_trial(run: RunFolder, name: str, overrides: list[str], seed: int, held_out: int) -> Trial:
    """The line of a finished run."""
    summary = run.read_summary()
    arguments = [name, *overrides, "--seeds", str(seed), "--held-out", str(held_out)]
    return {
        "name": name,
        "held_out": held_out,
        "split": seed,
        "seed": seed,
        **{key: summary[key] for key in FROM_SUMMARY},
        "commit": source_commit(summary["commit"]),
        "torch": summary["packages"]["torch"],
        "wrong": wrong_images(run, seed, held_out),
        "overrides": overrides,
        "command": shlex.join(["python", "-m", "research.run_trials", *arguments]),
    }


def source_commit(commit: str | None) -> str | None:
    """The commit of a run, without `-dirty` if only other files than those of the program changed.

    The file of trials changes with every trial.
    """
    program = ["src", "configs", "train.py"]
    command = ["git", "status", "--porcelain", "--", *program]
    changes = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return commit if commit is None or changes.stdout else commit.removesuffix("-dirty")


def wrong_images(run: RunFolder, seed: int, held_out: int) -> list[int]:
    """Indices of the held-out training images that the network reads wrong."""
    data: Any = MNISTDataModule(val_size=held_out, val_seed=seed)
    data.setup("validate")
    indices = data.val_indices
    images, labels = data.images.train_images[indices], data.images.train_labels[indices]
    read = predict(load_network(run), images, data.info).argmax(dim=1)
    return sorted(int(index) for index in indices[read != labels])


def main() -> None:
    """Run the trials that the command line asks for."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("name", metavar="NAME", help="of the recipe")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of train.py")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="training images")
    options = parser.parse_intermixed_args()
    # Another number of threads rounds differently.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    try:
        run_trials(options.name, options.overrides, options.seeds, options.held_out, TRIALS, FOLDER)
    except TrialError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
