"""APIs of other clouds as clients. Each vendor's shapes are written once, for its client here and for our door shaped like it."""
