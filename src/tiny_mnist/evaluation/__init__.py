"""Metrics, corruptions and the report of a trained network."""
