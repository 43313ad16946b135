"""Use cases: one function per thing a caller can ask for. They raise domain errors and know no HTTP."""
