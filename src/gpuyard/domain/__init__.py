"""What is true in a yard: nouns, lifecycles, plans and prices. No I/O, no clock, no framework."""
