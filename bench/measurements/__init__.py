"""One module per thing measured; each has `MEASUREMENTS`."""
