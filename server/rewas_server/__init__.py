"""The local ReWaS server and the `rewas` command: jobs, media, timelines as work, delivery files."""

__version__ = "0.2.0"
