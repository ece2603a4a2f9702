"""The local ReWaS server: jobs, media, timelines and delivery files."""

__version__ = "0.2.0"
