"""The shapes of the Novita API, written once: for the client of this package and for a door that speaks the same.

Modules follow the API: `catalogue`, `instances`, `networks`, `images`, `endpoints`; `simple` is the API at `/v1/gpu/*`.
"""
