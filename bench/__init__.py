"""Numbers: the yard beside its peers, measured in one run. `make bench` runs it; `python -m bench --help` explains."""
