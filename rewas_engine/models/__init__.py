"""The networks: each one class for any size, configured by the pack."""
