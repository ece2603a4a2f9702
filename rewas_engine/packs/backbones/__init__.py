"""The text-to-audio model behind the adapter: what the engine asks of it, and the families that answer."""
