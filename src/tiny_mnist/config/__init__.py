"""Configurations: ranges of known keys, reading saved ones, and whom to trust."""

from tiny_mnist.config.loading import differences, load_config, resolve_config
from tiny_mnist.config.schema import RESUMABLE_KEYS, validate
from tiny_mnist.config.trust import check_trusted

__all__ = [
    "RESUMABLE_KEYS", "check_trusted", "differences", "load_config", "resolve_config", "validate",
]  # fmt: skip
