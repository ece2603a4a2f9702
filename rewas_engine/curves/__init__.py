"""Energy and texture curves: their values, sources, events, edits and onsets."""
