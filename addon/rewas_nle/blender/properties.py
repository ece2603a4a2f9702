# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved in the .blend: the prompt on each strip, the settings on each scene."""

import bpy

from ..core.generate import SoundSettings
from . import compat


class RewasStripSettings(bpy.types.PropertyGroup):
    """What should be heard for a strip. Saved, undone and copied with it."""

    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="What should be heard under this strip, in plain words: a ball bounces on a wooden floor",
        options=set(),
    )


class RewasSceneSettings(bpy.types.PropertyGroup):
    """How sound is made in a scene."""

    use_random_seed: bpy.props.BoolProperty(
        name="New Seed Each Time",
        description="Draw a new seed for every Generate, so that each one sounds different. "
        "The seed is kept on the sound strip",
        default=True,
        options=set(),
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        description="Where the randomness starts. The same seed with the same settings gives the same sound",
        default=1,
        min=0,
        options=set(),
    )
    takes: bpy.props.IntProperty(
        name="Takes",
        description="How many versions to make. The first is heard; the others are placed muted on further channels",
        default=1,
        min=1,
        max=16,
        options=set(),
    )
    use_own_sampling: bpy.props.BoolProperty(
        name="Sampling",
        description="Use the steps and the guidance below in place of those that the pack recommends",
        default=False,
        options=set(),
    )
    num_steps: bpy.props.IntProperty(
        name="Steps",
        description="How many sampling steps to take. More steps take longer and may sound cleaner",
        default=25,
        min=1,
        max=1000,
        soft_max=200,
        options=set(),
    )
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance",
        description="How strictly the sound follows the prompt. 1 is not at all stricter than the model by itself",
        default=3.0,
        min=0.0,
        max=20.0,
        soft_max=10.0,
        precision=1,
        options=set(),
    )
    control_strength: bpy.props.FloatProperty(
        name="Follow Picture",
        description="How strongly the energy of the moving picture steers the sound: 0 ignores it, 1 is what the "
        "model was made for",
        default=1.0,
        min=0.0,
        max=2.0,
        precision=2,
        options=set(),
    )

    def sound_settings(self, pack: str) -> SoundSettings:
        """The settings of one Generate. pack: a pack's name, "" for the server's default."""
        return SoundSettings(
            pack=pack or None,
            seed=None if self.use_random_seed else self.seed,
            takes=self.takes,
            num_steps=self.num_steps if self.use_own_sampling else None,
            guidance_scale=self.guidance_scale if self.use_own_sampling else None,
            control_strength=self.control_strength,
        )


def register() -> None:
    bpy.utils.register_class(RewasStripSettings)
    bpy.utils.register_class(RewasSceneSettings)
    compat.STRIP_TYPE.rewas = bpy.props.PointerProperty(type=RewasStripSettings)
    bpy.types.Scene.rewas = bpy.props.PointerProperty(type=RewasSceneSettings)


def unregister() -> None:
    del bpy.types.Scene.rewas
    del compat.STRIP_TYPE.rewas
    bpy.utils.unregister_class(RewasSceneSettings)
    bpy.utils.unregister_class(RewasStripSettings)
