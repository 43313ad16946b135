"""The small server of ours inside every instance. Imports nothing of the yard's server; see docs/resident.md."""
