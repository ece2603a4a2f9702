"""Blender as a renderer of staged scenes: a scene as JSON in, frames as PNG files out.

This package runs inside Blender, in a separate process, and imports nothing but Blender, numpy and the standard
library. `rewas_engine.world.stage` draws the scenes, and `rewas_engine.training.stage_renderer` starts the process.
"""
