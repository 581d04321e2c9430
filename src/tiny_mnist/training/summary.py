"""What a finished run leaves: pictures, HPARAMS, summary.json and the closing lines."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console
from torchmetrics.functional.classification import multiclass_confusion_matrix

from tiny_mnist.config.loading import plain_config
from tiny_mnist.config.schema import REPORTING_CALLBACKS
from tiny_mnist.data import IdxDataModule
from tiny_mnist.errors import display_path
from tiny_mnist.evaluation import plots
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.models.tiny_cnn import parameter_count
from tiny_mnist.runs.metadata import device_name, weights_sha256
from tiny_mnist.training.builders import Records
from tiny_mnist.training.callbacks.tensorboard import TAGS
from tiny_mnist.training.environment import describe_environment
from tiny_mnist.training.lit_module import LitClassifier
from tiny_mnist.training.plots import plot_curves
from tiny_mnist.training.tables import summary_table

log = logging.getLogger(__name__)

# Of the trainer's settings, those that make another recipe of a run unless they have this value.
TRAINER_HPARAMS = {
    "precision": "32-true", "gradient_clip_val": None, "limit_train_batches": 1.0,
    "accumulate_grad_batches": 1,
}  # fmt: skip
# Classes that need no mention.
DEFAULT_CLASSES = ("tiny_mnist.models.tiny_cnn.TinyCNN", "tiny_mnist.data.MNISTDataModule")

# Where the data are, how fast a step is, and what follows from other settings.
HPARAM_EXCLUDES = (
    "root", "checkpoint_every", "fused", "lr", "interval", "anneal_strategy", "cycle_momentum",
    "val_seed",
)  # fmt: skip


def report_run(
    console: Console,
    trainer: pl.Trainer,
    module: LitClassifier,
    data: pl.LightningDataModule,
    records: Records,
    config: DictConfig,
    commit: str | None,
) -> None:
    """Write down and show the outcome of a trained and evaluated run.

    `summary.json` is written last: where it exists, nothing is missing.

    Args:
        console: prints the outcome.
        trainer: the run's Trainer.
        module: the LightningModule with the final weights.
        data: the run's data module.
        records: the measurements of each epoch.
        config: the composed configuration.
        commit: the commit of this source tree when the run began; it may be another by now.
    """
    run = records.metrics.run
    summary = summarize(trainer, module, records, commit)
    summary["config"] = plain_config(config)  # `${seed}` tells what follows the seed
    pictures = {
        path: plots.save_png(figure, path)
        for path, figure in draw(module, data, records, summary["steps"]).items()
    }
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            for path, picture in pictures.items():
                logger.experiment.add_image(
                    path.stem, picture, summary["epochs"], dataformats="HWC"
                )
            result = hparams_result(summary, module.eval_split)
            logger.log_hyperparams(summary["settings"], result, summary["epochs"])
        logger.save()
    run.write_summary(summary)

    table = summary_table(records.metrics.rows, module.eval_split)
    text = "\n".join([table, *closing_lines(summary, records, data, trainer)])
    log.info("\n%s", text)
    console.print(text, soft_wrap=True, markup=False)


def summarize(
    trainer: pl.Trainer, module: LitClassifier, records: Records, commit: str | None
) -> dict[str, Any]:
    """The content of summary.json; accuracies in percent."""
    device = trainer.strategy.root_device  # where it ran: the network is back on the CPU
    num_images = records.metrics.num_images
    return {
        **records.metrics.rows[-1],
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "seed": module.hparams["seed"],
        "parameters": parameter_count(module.network),
        "weights_sha256": weights_sha256(module.network),
        "training_images": num_images["train"],
        "val_images": num_images.get("val", 0),
        "test_images": num_images.get("test", 0),
        "training_seconds": round(records.throughput.seconds, 3),
        "images_per_second": round(records.throughput.images_per_second, 1),
        "device": f"{device.type}: {device_name(device)}",
        "processes": trainer.world_size,
        **describe_environment(),
        "commit": commit,
        "settings": short_settings(module.hparams),
    }


def hparams_result(summary: Mapping[str, Any], eval_split: str) -> dict[str, float]:
    """What TensorBoard's HPARAMS tab compares runs by.

    With held-out images, that is the accuracy on those; the test accuracy has a name of its own.
    Otherwise the tags are those of the curves, so that each result is a point of their charts.
    """
    if eval_split == "test":
        result = {TAGS["accuracy"]: summary["test_accuracy"], TAGS["loss"]: summary["test_loss"]}
    else:
        result = {
            f"validation {TAGS['accuracy']}": summary["val_accuracy"],
            f"validation {TAGS['loss']}": summary["val_loss"],
            f"final test {TAGS['accuracy']}": summary["test_accuracy"],
        }
    return {tag: value for tag, value in result.items() if value is not None}


def closing_lines(
    summary: Mapping[str, Any], records: Records, data: pl.LightningDataModule, trainer: pl.Trainer
) -> list[str]:
    """One line each: the result and what it is about, the time, where things are."""
    folder = display_path(records.metrics.run.path)
    lines = []
    if summary.get("val_accuracy") is not None:
        lines.append(
            f"Validation accuracy: {summary['val_accuracy']:.2f} % on {summary['val_images']:,} "
            f"{'held-out' if isinstance(data, IdxDataModule) else 'validation'} images"
        )
    if summary["test_accuracy"] is not None:
        count = summary["test_images"]
        images = f"{count:,} test images"
        if isinstance(data, IdxDataModule):
            images = (
                f"the {images}"
                if count == len(data.images.test_labels)
                else f"{count:,} of the test images"
            )
        evaluated = [row["test_accuracy"] is not None for row in records.metrics.rows]
        times = sum(evaluated)
        seen = "after every epoch" if times == len(evaluated) > 1 else f"{times} times"
        if times == 1:
            seen = "once, at the end"
        lines.append(
            f"Test accuracy: {summary['test_accuracy']:.2f} % after the last epoch, "
            f"on {images} (looked at {seen}; nothing was selected on them)"
        )
    seconds, speed = summary["training_seconds"], summary["images_per_second"]
    has_events = any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers)
    curves = f"tensorboard --logdir {folder.parent}" if has_events else f"{folder}/curves.png"
    return [
        *lines,
        f"Time: {seconds:.1f} s in training, {speed:,.0f} images/s",
        f"Run folder: {folder}",
        f"Curves: {curves}",
    ]


def draw(
    module: LitClassifier, data: pl.LightningDataModule, records: Records, steps: int
) -> dict[Path, Figure]:
    """The pictures of a run folder: the curves; of IDX images, also predictions and confusion.

    Args:
        module: the LightningModule with the final weights.
        data: the run's data module.
        records: the measurements of each epoch.
        steps: number of training steps of the run.
    """
    metrics = records.metrics
    figures = {
        metrics.run.curves: plot_curves(
            metrics.rows, module.eval_split, records.learning_rates.rates
        )
    }
    count = metrics.num_images.get("test", 0)
    if isinstance(data, IdxDataModule) and count:
        # The images of the test accuracy: all of them, unless trainer.limit_… says otherwise.
        images, labels = data.images.test_images[:count], data.images.test_labels[:count].cpu()
        log_probs, names = records.predictions.log_probs_after(steps), data.info.class_names
        # Evaluated within the epoch, before the run was resumed, or by several processes.
        if log_probs is None or len(log_probs) != count:
            log_probs = predict(module.network, images, data.info)
        counts = multiclass_confusion_matrix(log_probs, labels, num_classes=len(names))
        figures[metrics.run.predictions] = plots.plot_predictions(
            images.cpu(), labels, log_probs, names
        )
        figures[metrics.run.confusion] = plots.plot_confusion_matrix(counts, names)
    return figures


def short_settings(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
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
        elif isinstance(value, Mapping):
            if name in ("logger", *REPORTING_CALLBACKS):
                continue
            target = value.get("_target_", "")
            if target and target not in DEFAULT_CLASSES:
                flat[name] = target.rpartition(".")[2]
            flat = short_settings(value) | flat
        elif value is not None and not name.startswith("_") and name not in HPARAM_EXCLUDES:
            flat[name] = value if isinstance(value, bool | int | float) else str(value)
    return flat
