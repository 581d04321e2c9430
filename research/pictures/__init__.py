"""Rendered pictures of digits and numbers, as people photograph, scan and draw them."""
