"""Decode media in a process with limits, whose crash, hang or takeover does not reach the caller."""
