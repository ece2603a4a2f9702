"""The text-to-audio model behind the adapter: its interface to the engine, and the families that implement it."""
