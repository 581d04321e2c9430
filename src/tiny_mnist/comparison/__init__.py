"""Finished runs beside each other: grouping over seeds, ranking, exact tests and plots."""
