"""Helpers that tests share: the program in a process of its own, and how it is struck."""
