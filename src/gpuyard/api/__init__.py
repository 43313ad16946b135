"""What the yard answers over HTTP: our own API, and the applications inside instances."""
