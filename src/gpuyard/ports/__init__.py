"""What we ask of the outside: protocols over domain types."""
