"""Operating-system services: files, signals, processes, threads and memory."""
