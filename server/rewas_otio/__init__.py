"""Plugins for OpenTimelineIO, which finds them once this package is installed.

The adapter "blender" reads the timelines of .blend files, the media linker "rewas" finds media on this machine, and the
hooks "rewas_read" and "rewas_write" fill in prompts and change media paths if their arguments say so.
"""
