"""Other clouds' APIs, as our clients speak them."""
