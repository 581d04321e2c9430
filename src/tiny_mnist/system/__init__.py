"""Operating-system services: atomic files, signals, processes and memory."""
