"""Our own API, `/yard/v1`: one module per noun."""
