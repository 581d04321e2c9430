"""Ranges of the known settings, checked before anything starts or is built.

What this project defines itself is checked strictly. A class of the user's own may stand for the
model, the data, optimizer and schedule, callbacks and loggers; its arguments, and those that
Lightning's Trainer takes beyond the ones named here, are passed on.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from tiny_mnist.config.data_sections import ANY_IMAGES, IdxData, MNISTData
from tiny_mnist.config.sections import (
    AnyClass,
    Batches,
    Devices,
    Factor,
    Fraction,
    OpenSection,
    PartialClass,
    Positive,
    Section,
    SomeBatches,
)
from tiny_mnist.errors import UserError

RESUMABLE_KEYS = ("trainer.max_epochs", "trainer.accelerator", "data.root", "checkpoint_every")
"""Settings that a resumed run may override."""
REPORTING_CALLBACKS = ("contention", "epoch_line", "progress_bar", "pruning")
"""Nodes of `callbacks` that do not change the result of a run."""


class TinyCNN(Section):
    """The network of this project."""

    target: str = Field(alias="_target_")
    width: int = Field(ge=1, le=512)


class OneCycleLR(PartialClass):
    """PyTorch's one-cycle schedule."""

    max_lr: Positive
    div_factor: Factor
    final_div_factor: Factor
    pct_start: Fraction


KNOWN_CLASSES = {
    "tiny_mnist.models.tiny_cnn.TinyCNN": "known",
    "tiny_mnist.data.MNISTDataModule": "known",
    "tiny_mnist.data.FashionMNISTDataModule": "known",
    ANY_IMAGES: "idx",
    "torch.optim.lr_scheduler.OneCycleLR": "known",
}


def schema_tag(node: Any) -> str:
    """Which member of a union checks a node: that of the known class, or that of any class."""
    target = node.get("_target_") if isinstance(node, dict) else None
    return KNOWN_CLASSES.get(target, "any") if isinstance(target, str) else "any"


class Optimizer(PartialClass):
    """An optimizer, completed with the parameters of the network."""

    lr: Positive | None = None


Model = Annotated[
    Annotated[TinyCNN, Tag("known")] | Annotated[AnyClass, Tag("any")], Discriminator(schema_tag)
]
Data = Annotated[
    Annotated[MNISTData, Tag("known")]
    | Annotated[IdxData, Tag("idx")]
    | Annotated[AnyClass, Tag("any")],
    Discriminator(schema_tag),
]
Scheduler = Annotated[
    Annotated[OneCycleLR, Tag("known")] | Annotated[PartialClass, Tag("any")],
    Discriminator(schema_tag),
]


class Optim(OpenSection):
    """Optimizer, schedule and how often the schedule advances."""

    max_lr: Positive | None = None
    optimizer: Optimizer
    scheduler: Scheduler | None = None
    interval: Literal["step", "epoch"] = "step"


class Trainer(OpenSection):
    """Arguments of Lightning's Trainer; those that are not named here are passed on."""

    target: Literal["lightning.pytorch.Trainer"] = Field(alias="_target_")
    max_epochs: int = Field(ge=1, le=1_000_000)
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: Devices
    num_nodes: int = Field(ge=1)
    limit_train_batches: SomeBatches = 1.0
    limit_val_batches: Batches = 1.0
    limit_test_batches: SomeBatches = 1.0
    check_val_every_n_epoch: int = Field(default=1, ge=1)
    strategy: str = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Not the `-true` ones of other widths: images are normalised to 32 bits after Lightning has
    converted its batches."""
    gradient_clip_val: Annotated[float, Field(gt=0)] | None = None
    profiler: Literal["simple", "advanced", "pytorch"] | None = None

    @model_validator(mode="before")
    @classmethod
    def check_keys(cls, values: Any) -> Any:
        """Check that no argument is set that a configuration group or the run folder determines."""
        for key in ("callbacks", "logger"):
            if isinstance(values, dict) and key in values:
                raise ValueError(f"{key} is a group of its own: {key}=NAME, or {key}.NAME=…")
        if isinstance(values, dict) and "default_root_dir" in values:
            raise ValueError("default_root_dir is the run folder: say hydra.run.dir=…")
        return values

    @model_validator(mode="after")
    def check_strategy(self) -> "Trainer":
        """Check that several processes have an explicit strategy, which sweeps go by."""
        if self.processes > 1 and self.strategy == "auto":
            raise ValueError("several devices or nodes need trainer=ddp")
        return self

    @property
    def processes(self) -> int:
        """How many processes share each batch, as far as the configuration says."""
        match self.devices:
            case list():
                here = len(self.devices)
            case int() if self.devices > 0:
                here = self.devices
            case _:
                here = 1
        return here * self.num_nodes


class Config(Section):
    """A whole run."""

    seed: int = Field(ge=0, lt=2**32)
    checkpoint_every: int | None = Field(default=None, ge=1)
    model: Model
    optim: Optim
    data: Data
    trainer: Trainer
    callbacks: dict[str, AnyClass | None] = Field(default={})
    logger: dict[str, AnyClass | None] = Field(default={})

    @model_validator(mode="after")
    def check_held_out_images(self) -> "Config":
        """Check that held-out images are evaluated on: a sweep ranks its runs by them."""
        data = self.data
        if not isinstance(data, IdxData) or self.trainer.limit_val_batches:
            return self
        if data.val_size or data.folds:
            held_out = f"val_size={data.val_size}" if data.val_size else f"folds={data.folds}"
            raise ValueError(f"trainer.limit_val_batches=0 leaves no use for data.{held_out}")
        return self

    @model_validator(mode="after")
    def check_last_batch_size(self) -> "Config":
        """Check that every process gets two images of each batch, for batch normalisation."""
        if not (isinstance(self.data, IdxData) and isinstance(self.model, TinyCNN)):
            return self
        limit = self.trainer.limit_train_batches
        if isinstance(limit, int) or limit < 1:  # the last batch may not be used
            return self
        smallest, processes = self.data.smallest_batch, self.trainer.processes
        if smallest is not None and smallest // processes < 2:
            raise ValueError(
                f"data.batch_size={self.data.batch_size} leaves {count(smallest, 'image')} for the "
                f"last batch; batch normalisation needs 2 in {count(processes, 'process', 'es')}"
            )
        return self


def count(number: int, noun: str, plural: str = "s") -> str:
    """A number with its noun, as in "1 image" and "2 images"."""
    return f"{number} {noun}{plural if number != 1 else ''}"


def validate(config: dict[str, Any]) -> Config:
    """Check a composed and resolved configuration, without Hydra's own node.

    Raises:
        UserError: an unknown key or a value out of range, naming the key as on the command line.
    """
    try:
        return Config.model_validate(config)
    except ValidationError as error:
        problems: dict[str, str] = {}
        seen = set()
        for problem in error.errors():
            key, text = describe(problem, config)
            # A bad value that others are interpolated from is wrong once, where it comes first.
            if (fault := (str(problem["input"]), text)) not in seen:
                problems.setdefault(key, text)
            seen.add(fault)
        raise UserError(
            "; ".join(f"{key} {text}".strip() for key, text in problems.items())
        ) from error


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
            if message.startswith(("should", "must")):
                return f"{key}={problem['input']}", message
            return f"{key}:" if key else "", message
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{key}={problem['input']}", "should be a group of settings"
        case _:
            return f"{key}={problem['input']}", problem["msg"].replace("Input should", "should", 1)
