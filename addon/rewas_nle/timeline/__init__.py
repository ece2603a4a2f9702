# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on knows of time and tracks, in plain Python: no Blender, no transport."""
