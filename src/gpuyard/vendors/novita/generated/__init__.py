"""Where programs written for the published SDK look for its models."""
