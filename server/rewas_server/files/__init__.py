"""Media files, delivery files and output paths."""
