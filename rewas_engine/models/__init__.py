"""The networks. Each is one class for any size; the pack's config.json sets the size."""
