"""Ranges of the settings of the group `data`, for the data modules of this project."""

from typing import Literal

from pydantic import Field, model_validator

from tiny_mnist.config.sections import Fraction, Section

ANY_IMAGES = "tiny_mnist.data.IdxDataModule"
"""The data module whose `root` identifies the images; for others, it is only a location."""
TRAINING_IMAGES = 60_000


class IdxData(Section):
    """Images in IDX files, their split and their augmentation."""

    target: str = Field(alias="_target_")
    root: str | None
    batch_size: int = Field(ge=2)
    train_size: int | None = Field(ge=2)
    val_size: int = Field(ge=0)
    val_seed: int = Field(ge=0, lt=2**32)
    folds: int | None = Field(default=None, ge=2)
    fold: int | None = Field(default=None, ge=0)
    fold_seed: int = Field(default=0, ge=0, lt=2**32)
    rotation: float = Field(ge=0, le=180)
    translation: float = Field(ge=0, le=27)
    scale: float = Field(default=0, ge=0, le=1)
    shear: float = Field(default=0, ge=0, le=60)
    elastic: float = Field(default=0, ge=0, le=27)
    sampling: Literal["nearest", "bicubic"] = "nearest"
    flip: Fraction = 0
    seed: int = Field(ge=0, lt=2**32)

    @model_validator(mode="after")
    def check_folds(self) -> "IdxData":
        """Check that folds and fold are both set or both not, and val_size is not set with them."""
        if self.folds is None and self.fold is None:
            return self
        if self.folds is None:
            raise ValueError(f"fold={self.fold} needs data.folds=…, the number of folds")
        if self.fold is None:
            raise ValueError(
                f"folds={self.folds} needs data.fold=…, from 0 to {self.folds - 1}, or all of them "
                f"with -m 'data.fold=range({self.folds})'"
            )
        if self.fold >= self.folds:
            raise ValueError(f"fold={self.fold} should be less than folds={self.folds}")
        if self.val_size:
            raise ValueError(
                f"folds={self.folds} holds a fold out, and val_size={self.val_size} other images: "
                "only one of the two"
            )
        return self

    @model_validator(mode="after")
    def check_sampling(self) -> "IdxData":
        """Check that scale, shear and elastic are zero with nearest-neighbour sampling."""
        if self.sampling == "nearest" and (self.scale or self.shear or self.elastic):
            raise ValueError("scale, shear and elastic need sampling=bicubic")
        return self

    @property
    def smallest_batch(self) -> int | None:
        """Images in the last batch of an epoch; None when their number is not known.

        What is not known here is checked when the images are read.
        """
        return None


class MNISTData(IdxData):
    """MNIST or Fashion-MNIST, whose number of images is known."""

    batch_size: int = Field(ge=2, le=TRAINING_IMAGES)
    train_size: int | None = Field(ge=2, le=TRAINING_IMAGES)
    val_size: int = Field(ge=0, lt=TRAINING_IMAGES)
    folds: int | None = Field(default=None, ge=2, le=TRAINING_IMAGES // 2)

    @property
    def not_held_out(self) -> int:
        """Images that may be trained on."""
        if self.folds is None or self.fold is None:
            return TRAINING_IMAGES - self.val_size
        return (
            TRAINING_IMAGES
            - TRAINING_IMAGES // self.folds
            - (self.fold < TRAINING_IMAGES % self.folds)
        )

    @model_validator(mode="after")
    def check_train_size(self) -> "MNISTData":
        """Check that no more images are trained on than are not held out."""
        left = self.not_held_out
        used = self.train_size or left
        if used > left:
            raise ValueError(f"train_size={used} exceeds the {left} images that are not held out")
        return self

    @property
    def smallest_batch(self) -> int:
        """Images in the last batch of an epoch, or in every batch if they come out even."""
        used = self.train_size or self.not_held_out
        return used % self.batch_size or min(self.batch_size, used)
