"""The Novita API: our client for it, beside the published one."""
