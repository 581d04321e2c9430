"""Types of settings: numbers with their ranges, and groups of known or of any keys."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def check_finite(value: Any) -> Any:
    """Check that a setting that this project does not know holds no NaN or infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            check_finite(part)
    return value


def check_batches(value: Any) -> int | float:
    """Check a number of batches, or a fraction of all of them."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, float) and 0 <= value <= 1):
        raise ValueError("should be a number of batches, or a part of all between 0.0 and 1.0")
    number: int | float = value
    return number


def check_some_batches(value: Any) -> int | float:
    """Check a number or fraction of batches that must be above zero."""
    if value == 0 and not isinstance(value, bool):
        raise ValueError("should be greater than 0")
    return check_batches(value)


def check_devices(value: Any) -> Any:
    """Check a number of devices (-1: all), a list of their indices, or a word such as "auto"."""
    number = isinstance(value, int) and not isinstance(value, bool) and (value > 0 or value == -1)
    indices = isinstance(value, list) and value and all(type(index) is int for index in value)
    if not (number or indices or (isinstance(value, str) and value)):
        raise ValueError("should be a number of devices, a list of their indices, or auto")
    return value


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Factor = Annotated[float, Field(ge=1e-6, le=1e9)]
"""Bounded so that no learning rate overflows."""
Batches = Annotated[Any, AfterValidator(check_batches)]
SomeBatches = Annotated[Any, AfterValidator(check_some_batches)]
Devices = Annotated[Any, AfterValidator(check_devices)]


class Section(BaseModel):
    """A group whose keys are all known."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class OpenSection(BaseModel):
    """A group whose further keys are passed on to a class, which checks them itself."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Annotated[Any, AfterValidator(check_finite)]]

    @model_validator(mode="after")
    def check_not_partial(self) -> "OpenSection":
        """Check that Hydra returns an object and not a function, as with `_partial_`."""
        if "_partial_" in self.__pydantic_extra__:
            raise ValueError("_partial_ is for optimizers and schedules only")
        return self


class AnyClass(OpenSection):
    """A class that Hydra instantiates, with its arguments."""

    target: str = Field(alias="_target_", pattern=r"^\w+(\.\w+)+$")


class PartialClass(AnyClass):
    """A class that is instantiated later, with arguments that only the run knows."""

    partial: Literal[True] = Field(alias="_partial_")
