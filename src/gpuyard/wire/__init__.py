"""The shapes of `/yard/v1`, for the server and the SDK alike: requests refuse unknown fields, replies tolerate them."""
