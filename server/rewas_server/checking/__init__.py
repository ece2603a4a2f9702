"""Reads requests outside the front process: OpenTimelineIO, curves, packs and the location of media."""
