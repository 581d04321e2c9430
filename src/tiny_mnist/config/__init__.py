"""Configurations: ranges of known keys, reading saved ones, and whom to trust."""
