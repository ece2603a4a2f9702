# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample clip of the extension, as scripts/dev/make_sample_clip.py renders it."""

SAMPLE_NAME = "ball.mp4"
SAMPLE_FPS = 24
SAMPLE_FRAMES = 96
SAMPLE_SIZE_PX = (480, 270)
SAMPLE_PROMPT = "a rubber ball bounces on the floor"
