"""What a finished run leaves and says: pictures, TensorBoard's HPARAMS, summary.json, the table."""

import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torchmetrics.functional.classification import multiclass_confusion_matrix

from tiny_mnist.data import MNISTDataModule
from tiny_mnist.errors import display_path
from tiny_mnist.evaluation import plots
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.models.tiny_cnn import parameter_count
from tiny_mnist.runs.folder import Row, RunFolder
from tiny_mnist.runs.metadata import commit, device_name, weights_sha256
from tiny_mnist.training.callbacks.recorder import ACCURACY_TAG, LOSS_TAG, Recorder
from tiny_mnist.training.lit_module import LitClassifier
from tiny_mnist.training.plots import curves
from tiny_mnist.training.tables import summary_table

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")

# Of the trainer's settings, those that make another recipe of a run where they are not as usual.
TRAINER_HPARAMS = {"precision": "32-true", "gradient_clip_val": None, "limit_train_batches": 1.0}

# Where the data are, how fast a step is, and what follows from other settings.
HPARAM_EXCLUDES = (
    "root", "checkpoint_every", "compile",
    "fused", "lr", "interval", "anneal_strategy", "cycle_momentum",
    "val_seed",
)  # fmt: skip


def report(
    console: Console,
    trainer: pl.Trainer,
    classifier: LitClassifier,
    data: MNISTDataModule,
    recorder: Recorder,
    config: DictConfig,
) -> None:
    """Write down and show the outcome of a trained and tested run.

    `summary.json` comes last: where it is, nothing is missing.
    """
    run = recorder.run
    run.write_metrics(recorder.columns, recorder.rows)
    summary = summarize(trainer, classifier, data, recorder)
    summary["config"] = OmegaConf.to_container(config)  # as composed: ${seed} tells what follows it
    figures = draw(classifier, data, recorder)
    logger = trainer.logger
    assert isinstance(logger, TensorBoardLogger)
    for path, figure in figures.items():
        picture = plots.save(figure, path)
        logger.experiment.add_image(path.stem, picture, summary["epochs"], dataformats="HWC")
    # Fills the HPARAMS tab: what was set, and what came out on the test images at the end. The
    # tags are those of the curves, where each result is one point on a chart that exists anyway.
    final = {ACCURACY_TAG: summary["test_accuracy"], LOSS_TAG: summary["test_loss"]}
    if summary.get("val_accuracy") is not None:  # what a sweep is ranked by
        final[f"validation {ACCURACY_TAG}"] = summary["val_accuracy"]
    logger.log_hyperparams(flatten(classifier.hyper_parameters), final, summary["epochs"])
    logger.save()
    run.write_summary(summary)

    table = summary_table(recorder.rows, recorder.eval_split)
    text = "\n".join([table, *closing_lines(summary, recorder.rows, run, data)])
    log.info("\n%s", text)
    console.print(text, soft_wrap=True)


def summarize(
    trainer: pl.Trainer, classifier: LitClassifier, data: MNISTDataModule, recorder: Recorder
) -> dict[str, Any]:
    """The content of summary.json; accuracies in percent."""
    device = trainer.strategy.root_device  # where it ran: the network is back on the CPU
    return {
        **recorder.rows[-1],
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "seed": classifier.hyper_parameters["seed"],
        "parameters": parameter_count(classifier.network),
        "weights_sha256": weights_sha256(classifier.network),
        "training_images": len(data.train_indices),
        "val_images": data.val_size,
        "test_images": recorder.num_test_images,
        "training_seconds": round(recorder.seconds, 3),
        "images_per_second": round(recorder.images / recorder.seconds, 1),
        "device": f"{device.type}: {device_name(device)}",
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "commit": commit(),
        "settings": flatten(classifier.hyper_parameters),
    }


def closing_lines(
    summary: dict[str, Any], rows: list[Row], run: RunFolder, data: MNISTDataModule
) -> list[str]:
    """One line each: the result and what it is about, the time, where things are."""
    num_test_images = summary["test_images"]
    images = (
        "the 10,000 test images"
        if num_test_images == 10_000
        else f"{num_test_images:,} of the test images"
    )
    measured = [row["test_accuracy"] is not None for row in rows]
    seen = "after every epoch" if all(measured) else f"{sum(measured)} time(s)"
    seconds, speed = summary["training_seconds"], summary["images_per_second"]
    folder = display_path(run.path)
    lines = [
        f"Test accuracy: {summary['test_accuracy']:.2f} % after the last epoch, "
        f"on {images} (looked at {seen}; nothing was selected on them)",
        f"Time: {seconds:.1f} s in training, {speed:,.0f} images/s",
        f"Run folder: {folder}",
        f"Curves: tensorboard --logdir {folder.parent}",
    ]
    if data.val_size:
        accuracy = f"{summary['val_accuracy']:.2f} %"
        lines.insert(0, f"Validation accuracy: {accuracy} on {data.val_size:,} held-out images")
    return lines


def draw(
    classifier: LitClassifier, data: MNISTDataModule, recorder: Recorder
) -> dict[Path, Figure]:
    """The three pictures of a run folder, from all test images."""
    run, mnist = recorder.run, data.mnist
    labels = mnist.test_labels.cpu()
    log_probs = predict(classifier.network, mnist.test_images)
    counts = multiclass_confusion_matrix(log_probs, labels, num_classes=10)
    return {
        run.curves: curves(recorder.rows, recorder.eval_split),
        run.predictions: plots.predictions(mnist.test_images.cpu(), labels, log_probs),
        run.confusion: plots.confusion_matrix(counts),
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
            for key, usual in TRAINER_HPARAMS.items():
                if (chosen := value.get(key, usual)) != usual:
                    flat[key] = chosen
        elif isinstance(value, dict):
            if "_partial_" in value:
                flat[name] = value["_target_"].rpartition(".")[2]
            flat = flatten(value) | flat
        elif not name.startswith("_") and name not in HPARAM_EXCLUDES:
            flat[name] = value if isinstance(value, bool | int | float) else str(value)
    return flat
