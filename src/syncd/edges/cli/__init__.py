"""The `im` command line: a client of the HTTP API, and nothing else."""
