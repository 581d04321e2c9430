"""Run folders: paths, checkpoints and metadata."""
