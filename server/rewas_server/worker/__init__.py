"""The worker process that owns the model."""
