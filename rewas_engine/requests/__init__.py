"""Requests for sound: validation, layers, regeneration, the plan for each sound, takes and results."""
