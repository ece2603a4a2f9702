# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline logic in plain Python: selection, placement, names and rates. No Blender, no network."""
