"""The command line: the SDK with words, tables and exit statuses. Nothing here knows HTTP or the server's inside."""
