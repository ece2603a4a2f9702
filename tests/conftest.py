"""Examples that hypothesis draws may take their time: machines that run tests are busy."""

import contextlib

with contextlib.suppress(ImportError):  # Blender's own environments have no hypothesis.
    from hypothesis import settings

    settings.register_profile("busy machine", deadline=None)
    settings.load_profile("busy machine")
