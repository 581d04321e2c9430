"""What the results rest on: trials, rendered pictures, tables of results."""
