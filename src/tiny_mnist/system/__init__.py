"""Operating-system services: atomic files, signals, processes, threads and memory."""
