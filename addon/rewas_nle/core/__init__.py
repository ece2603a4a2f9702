# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's use cases, without Blender: threads that talk to the server and post typed messages."""
