"""Rows of digits in the ink of a picture: strokes together, neighbours apart."""
