"""Many runs from one command: sweepers, progress, ranking and statistics."""
