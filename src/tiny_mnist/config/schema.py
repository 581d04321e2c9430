"""What a configuration may hold. Checked before anything starts, and before anything is built."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from tiny_mnist.errors import UserError

TRAINING_IMAGES = 60_000

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Factor = Annotated[float, Field(ge=1e-6, le=1e9)]
"""So that no rate overflows, whatever the peak."""
Batches = Annotated[int, Field(ge=0)] | Fraction
"""A number of batches, or a part of all of them."""
SomeBatches = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]
"""The same, but not none."""

RESUMABLE_KEYS = ("trainer.max_epochs", "trainer.accelerator", "data.root", "checkpoint_every")
"""What may change when a run is resumed: how long and where it goes on, not what it is."""


def passed_on(value: Any) -> Any:
    """A setting that this project does not know: nothing that could hold a `_target_`."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, dict | list):
            raise ValueError("must be one value or a list of values")
        if isinstance(part, float) and not math.isfinite(part):
            raise ValueError("must be a finite number")
    return value


class Section(BaseModel):
    """A group whose keys are all known."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class OpenSection(BaseModel):
    """A group whose further keys are passed on to a library, which checks them itself.

    They are plain values: a nested `_target_`, or `_args_` and its like, would be instantiated.
    """

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Annotated[Any, AfterValidator(passed_on)]]

    @model_validator(mode="after")
    def no_instructions(self) -> "OpenSection":
        """Further keys are arguments, and not Hydra's instructions how to instantiate."""
        for key in self.__pydantic_extra__:
            if key.startswith("_"):
                raise ValueError(f"{key} is not a known setting")
        return self


# A configuration may come from a stranger's run folder, so `_target_` names nothing but these.
class Model(Section):
    """The network."""

    target: Literal["tiny_mnist.models.tiny_cnn.TinyCNN"] = Field(alias="_target_")
    width: int = Field(ge=1, le=512)


class Optimizer(OpenSection):
    """Any optimizer of torch.optim."""

    target: str = Field(alias="_target_", pattern=r"^torch\.optim\.[A-Z]\w+$")
    partial: Literal[True] = Field(alias="_partial_")
    lr: Positive


class Scheduler(OpenSection):
    """The one schedule of torch.optim.lr_scheduler that is told its total steps."""

    target: Literal["torch.optim.lr_scheduler.OneCycleLR"] = Field(alias="_target_")
    partial: Literal[True] = Field(alias="_partial_")
    max_lr: Positive
    div_factor: Factor
    final_div_factor: Factor
    pct_start: Fraction


class Optim(Section):
    """Optimizer, schedule and how often the schedule advances."""

    max_lr: Positive
    optimizer: Optimizer
    scheduler: Scheduler
    interval: Literal["step", "epoch"]


class Data(Section):
    """MNIST and its augmentation."""

    target: Literal["tiny_mnist.data.MNISTDataModule"] = Field(alias="_target_")
    root: str | None
    batch_size: int = Field(ge=2, le=TRAINING_IMAGES)
    train_size: int | None = Field(ge=2, le=TRAINING_IMAGES)
    val_size: int = Field(ge=0, lt=TRAINING_IMAGES)
    val_seed: int = Field(ge=0, lt=2**32)
    rotation: float = Field(ge=0, le=180)
    translation: float = Field(ge=0, le=27)
    scale: float = Field(default=0, ge=0, le=1)
    shear: float = Field(default=0, ge=0, le=60)
    elastic: float = Field(default=0, ge=0, le=27)
    sampling: Literal["nearest", "bicubic"] = "nearest"
    seed: int = Field(ge=0, lt=2**32)

    @model_validator(mode="after")
    def images_suffice(self) -> "Data":
        """There must be images to train on."""
        left = TRAINING_IMAGES - self.val_size
        used = self.train_size or left
        if used > left:
            raise ValueError(f"train_size={used} exceeds the {left} images that are not held out")
        return self

    @model_validator(mode="after")
    def sampling_suffices(self) -> "Data":
        """Nearest-neighbour sampling knows rotation and shifts by whole pixels only."""
        if self.sampling == "nearest" and (self.scale or self.shear or self.elastic):
            raise ValueError("scale, shear and elastic need sampling=bicubic")
        return self

    @property
    def smallest_batch(self) -> int:
        """Images in the last batch of an epoch, or in every batch if they come out even."""
        used = self.train_size or TRAINING_IMAGES - self.val_size
        return used % self.batch_size or min(self.batch_size, used)


class Trainer(Section):
    """Lightning's Trainer, as far as a run here can follow: the rest is refused, not ignored."""

    target: Literal["lightning.pytorch.Trainer"] = Field(alias="_target_")
    max_epochs: int = Field(ge=1, le=1_000_000)
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: (
        Annotated[int, Field(ge=1)] | Annotated[list[int], Field(min_length=1)] | Literal["auto"]
    )
    num_nodes: int = Field(ge=1)
    limit_train_batches: SomeBatches = 1.0
    limit_val_batches: Batches = 1.0
    limit_test_batches: SomeBatches = 1.0
    check_val_every_n_epoch: int = Field(default=1, ge=1)
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    gradient_clip_val: Annotated[float, Field(gt=0)] | None = None
    deterministic: bool = False
    benchmark: bool = False
    detect_anomaly: bool = False
    sync_batchnorm: bool = False
    log_every_n_steps: int = Field(ge=1)
    num_sanity_val_steps: Literal[0]
    enable_model_summary: Literal[False]
    use_distributed_sampler: Literal[False]
    profiler: Literal["simple", "advanced", "pytorch"] | None = None

    @model_validator(mode="after")
    def processes_are_asked_for(self) -> "Trainer":
        """Lightning would start them by itself, which sweeps and searches must know of."""
        if self.processes > 1 and self.strategy != "ddp":
            raise ValueError("several devices or nodes need trainer=ddp")
        return self

    @property
    def processes(self) -> int:
        """How many share each batch, as far as the configuration says."""
        devices = self.devices
        here = len(devices) if isinstance(devices, list) else devices if devices != "auto" else 1
        return here * self.num_nodes


class Config(Section):
    """A whole run."""

    seed: int = Field(ge=0, lt=2**32)
    checkpoint_every: int | None = Field(default=None, ge=1)
    compile: Literal["default", "reduce-overhead", "max-autotune"] | None = None
    model: Model
    optim: Optim
    data: Data
    trainer: Trainer

    @model_validator(mode="after")
    def held_out_images_are_used(self) -> "Config":
        """Else a sweep would have the test images alone to rank by."""
        if self.data.val_size and not self.trainer.limit_val_batches:
            raise ValueError(
                f"trainer.limit_val_batches=0 leaves no use for data.val_size={self.data.val_size}"
            )
        return self

    @model_validator(mode="after")
    def batches_suffice(self) -> "Config":
        """Every process gets its part of a batch, for batch normalisation two images at least."""
        smallest, processes = self.data.smallest_batch, self.trainer.processes
        if smallest // processes < 2:
            raise ValueError(
                f"data.batch_size={self.data.batch_size} leaves {smallest} image(s) for the last "
                f"batch; batch normalisation needs 2 in each of {processes} process(es)"
            )
        return self


def validate(config: dict[str, Any]) -> Config:
    """Check a composed and resolved configuration, without Hydra's own node.

    Raises:
        UserError: an unknown key or a value out of range, naming the key as on the command line.
    """
    try:
        return Config.model_validate(config)
    except ValidationError as error:
        problems: dict[str, list[str]] = {}
        seen = set()
        for problem in error.errors():
            place, text = describe(problem, config)
            # A bad value that others are interpolated from is wrong once, where it comes first.
            if (fault := (str(problem["input"]), text)) not in seen:
                problems.setdefault(place, []).append(text)
            seen.add(fault)
        lines = (f"{place} {' or '.join(texts)}".strip() for place, texts in problems.items())
        raise UserError("; ".join(lines)) from error


def describe(problem: ErrorDetails, config: dict[str, Any]) -> tuple[str, str]:
    """Where one problem found by pydantic is, as on the command line, and what it is."""
    keys: list[str] = []
    node: Any = config
    for part in problem["loc"]:  # which also names the members of unions
        if isinstance(node, dict) and part in node:
            keys.append(str(part))
            node = node[part]
    key = ".".join(keys)
    match problem["type"]:
        case "extra_forbidden":
            return key, "is not a known setting"
        case "missing":
            return ".".join([*keys, str(problem["loc"][-1])]), "is missing"
        case "value_error":
            message = problem["msg"].removeprefix("Value error, ")
            return f"{key}:" if key else "", message
        case _:
            return f"{key}={problem['input']}", problem["msg"].replace("Input should", "should", 1)
