"""Many runs from one command: sweepers, their jobs, launching and progress."""
