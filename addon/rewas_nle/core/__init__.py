# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on does, told without Blender: conversations with the server, in threads, that post typed messages."""
