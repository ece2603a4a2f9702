"""Timelines: OpenTimelineIO in and out."""
