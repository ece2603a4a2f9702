"""Jobs: their life cycle, store, board and scheduler."""
