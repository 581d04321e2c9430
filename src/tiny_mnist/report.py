"""What a finished run leaves and says: pictures, TensorBoard's HPARAMS, summary.json, the table."""

import logging
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from rich.console import Console
from torchmetrics.functional.classification import multiclass_confusion_matrix

from tiny_mnist import pictures
from tiny_mnist.classifier import Classifier
from tiny_mnist.data import MNISTDataModule
from tiny_mnist.data.datamodule import EVALUATION_BATCH
from tiny_mnist.display import summary_table
from tiny_mnist.evaluation import predict
from tiny_mnist.network import parameter_count
from tiny_mnist.recorder import ACCURACY_TAG, LOSS_TAG, Recorder
from tiny_mnist.run import RunFolder, weights_sha256

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")

# Where the data are, how fast a step is, and what follows from other settings.
NO_HPARAMS = (
    "root", "checkpoint_every", "fused", "lr", "interval", "anneal_strategy", "cycle_momentum",
    "val_seed",
)  # fmt: skip


def report(
    console: Console,
    trainer: pl.Trainer,
    classifier: Classifier,
    data: MNISTDataModule,
    recorder: Recorder,
) -> None:
    """Write down and show the outcome of a trained and tested run.

    `summary.json` comes last: where it is, nothing is missing.
    """
    run = recorder.run
    test = {name: classifier.results[name] for name in ("test_loss", "test_accuracy")}
    recorder.add_test(test)
    summary = summarize(trainer, classifier, data, recorder)
    figures = draw(classifier, data, recorder)
    for path, figure in figures.items():
        pictures.save(figure, path)
    logger = trainer.logger
    assert isinstance(logger, TensorBoardLogger)
    for path, figure in figures.items():
        picture = pictures.pixels(figure)
        logger.experiment.add_image(path.stem, picture, summary["epochs"], dataformats="HWC")
    # Fills the HPARAMS tab: what was set, and what came out on the test images at the end. The
    # tags are those of the curves, where each result is one point on a chart that exists anyway.
    final = {ACCURACY_TAG: test["test_accuracy"], LOSS_TAG: test["test_loss"]}
    logger.log_hyperparams(flatten(classifier.hyper_parameters), final, summary["epochs"])
    logger.save()
    run.write_summary(summary)

    table = summary_table(recorder.rows, recorder.epoch_split)
    text = "\n".join([table, *closing_lines(summary, run, data)])
    log.info("\n%s", text)
    console.print(text, soft_wrap=True)


def summarize(
    trainer: pl.Trainer, classifier: Classifier, data: MNISTDataModule, recorder: Recorder
) -> dict[str, Any]:
    """The content of summary.json; accuracies in percent."""
    device = classifier.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        **recorder.rows[-1],
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "seed": data.seed,
        "parameters": parameter_count(classifier.network),
        "weights_sha256": weights_sha256(classifier.network),
        "training_images": len(data.train_indices),
        "val_images": data.val_size,
        "test_images": min(10_000, int(sum(trainer.num_test_batches)) * EVALUATION_BATCH),
        "training_seconds": round(recorder.seconds, 3),
        "images_per_second": round(recorder.images / recorder.seconds, 1),
        "device": f"{device.type}: {name or platform.machine()}",
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "commit": commit(),
    }


def closing_lines(summary: dict[str, Any], run: RunFolder, data: MNISTDataModule) -> list[str]:
    """One line each: the result and what it is about, the time, where things are."""
    tested = summary["test_images"]
    images = "the 10,000 test images" if tested == 10_000 else f"{tested:,} of the test images"
    seen = "looked at once, now" if data.val_size else "looked at after every epoch"
    seconds, speed = summary["training_seconds"], summary["images_per_second"]
    folder = shown(run.path)
    lines = [
        f"Test accuracy: {summary['test_accuracy']:.2f} % after the last epoch, "
        f"on {images} ({seen}; nothing was selected on them)",
        f"Time: {seconds:.1f} s in training, {speed:,.0f} images/s",
        f"Run folder: {folder}",
        f"Curves: tensorboard --logdir {folder.parent}",
    ]
    if data.val_size:
        lines.insert(0, f"Validation: {data.val_size:,} training images held out")
    return lines


def shown(path: Path) -> Path:
    """The path as a person would type it from here."""
    here = Path.cwd()
    return path.resolve().relative_to(here) if path.resolve().is_relative_to(here) else path


def commit() -> str | None:
    """The commit of this source tree, marked when it has changes; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def draw(classifier: Classifier, data: MNISTDataModule, recorder: Recorder) -> dict[Path, Figure]:
    """The three pictures of a run folder, from all test images."""
    run, mnist = recorder.run, data.mnist
    labels = mnist.test_labels.cpu()
    log_probs = predict(classifier.network, mnist.test_images)
    counts = multiclass_confusion_matrix(log_probs, labels, num_classes=10)
    return {
        run.curves: pictures.curves(recorder.rows, recorder.epoch_split),
        run.predictions: pictures.predictions(mnist.test_images.cpu(), labels, log_probs),
        run.confusion: pictures.confusion_matrix(counts),
    }


def flatten(settings: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """What distinguishes one recipe from another, by short names: `max_lr`, `optimizer`, `seed`.

    TensorBoard shows the first five in the order of the alphabet, which long names would waste.
    Where two groups have a setting of the same name, one is interpolated from the other.
    """
    flat: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if name == "trainer":
            flat["max_epochs"] = value["max_epochs"]
        elif isinstance(value, dict):
            if "_partial_" in value:
                flat[name] = value["_target_"].rpartition(".")[2]
            flat = flatten(value) | flat
        elif not name.startswith("_") and name not in NO_HPARAMS:
            flat[name] = value if isinstance(value, bool | int | float) else str(value)
    return flat
