"""Media files, uploads and output paths."""
