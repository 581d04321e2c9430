"""The same network and data path in Keras 3 on JAX, as its users would write it."""

import math
import os
from time import perf_counter
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers, ops

from benchmarks.contestant import BATCH, WARM_UP, Job, Result, main

MAX_LR, DIV_FACTOR, PCT_START = 0.75, 7.5, 0.3  # as in benchmarks.recipe, which needs torch
TOTAL_STEPS = 4690
MEAN, STD = 0.1307, 0.3081


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc, unused-ignore]
    """torch's OneCycleLR with cosine annealing."""

    def __call__(self, step: Any) -> Any:
        """The learning rate of one step, from 0."""
        low, last = MAX_LR / DIV_FACTOR, MAX_LR / DIV_FACTOR**2
        top = PCT_START * TOTAL_STEPS - 1
        step = ops.cast(step, "float32")
        rising = anneal(low, MAX_LR, step / top)
        falling = anneal(MAX_LR, last, (step - top) / (TOTAL_STEPS - 1 - top))
        return ops.where(step <= top, rising, falling)

    def get_config(self) -> dict[str, Any]:
        """No settings."""
        return {}


def anneal(start: float, end: float, part: Any) -> Any:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) / 2 * (1 + ops.cos(math.pi * part))


def conv_block(channels: int, kernel: int) -> list[Any]:
    """Convolution → batch norm → ReLU, with torch's constants."""
    return [
        layers.Conv2D(channels, kernel),
        layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
        layers.ReLU(),
    ]


def build_network() -> Any:
    """Raw images to logits; the augmentation layers are part of the model, as Keras advises."""
    black = {"fill_mode": "constant", "interpolation": "nearest"}
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.RandomRotation(15 / 360, **black),
            layers.RandomTranslation(2 / 28, 2 / 28, **black),
            layers.Rescaling(1 / STD, offset=-MEAN / STD),
            *conv_block(8, 3), *conv_block(16, 3), layers.MaxPooling2D(),
            *conv_block(16, 3), *conv_block(16, 3), layers.MaxPooling2D(),
            *conv_block(16, 3), *conv_block(16, 2),
            layers.Flatten(), layers.Dense(10),
        ]
    )  # fmt: skip


class EpochTimer(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Seconds of the latest epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start."""
        self.started = perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop; Keras has waited for the metrics of the epoch by now."""
        self.seconds = perf_counter() - self.started


def load_training_images(job: Job) -> tuple[Any, Any]:
    """The first images and labels of MNIST's files, as many as the job needs."""
    raw, count = f"{job.mnist}/MNIST/raw", BATCH * job.steps
    images = np.fromfile(f"{raw}/train-images-idx3-ubyte", np.uint8, offset=16)
    labels = np.fromfile(f"{raw}/train-labels-idx1-ubyte", np.uint8, offset=8)
    return images.reshape(-1, 28, 28, 1)[:count], labels[:count]


def measure(job: Job) -> Result:
    """Train `job.steps` steps as one epoch, after a short one that compiles."""
    keras.utils.set_random_seed(0)
    model, timer = build_network(), EpochTimer()
    model.compile(
        optimizer=keras.optimizers.Adagrad(
            OneCycle(), initial_accumulator_value=0.0, epsilon=1e-10
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images, labels = load_training_images(job)
    warm_up = BATCH * WARM_UP
    model.fit(images[:warm_up], labels[:warm_up], batch_size=BATCH)
    history = model.fit(images, labels, batch_size=BATCH, callbacks=[timer])
    accuracy = 100 * history.history["accuracy"][-1]
    return {"images": len(images), "seconds": timer.seconds, "train_accuracy": accuracy}


if __name__ == "__main__":
    main(measure)
