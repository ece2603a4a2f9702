# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved in the .blend: the prompt on each strip, the settings on each scene."""

import bpy

from ..core.generate import SoundSettings
from . import compat


class RewasStripSettings(bpy.types.PropertyGroup):
    """Settings of one strip. Blender saves, undoes and copies them with the strip."""

    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="The sound to generate for this strip, for example: a ball bounces on a wooden floor",
        options=set(),
    )


class RewasSceneSettings(bpy.types.PropertyGroup):
    """Generation settings of one scene."""

    use_random_seed: bpy.props.BoolProperty(
        name="New Seed Each Time",
        description="Use a new random seed each time you generate, so that the results differ. "
        "The sound strip keeps its seed",
        default=True,
        options=set(),
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        description="Seed of the random numbers. The same seed and settings give the same sound",
        default=1,
        min=0,
        options=set(),
    )
    takes: bpy.props.IntProperty(
        name="Takes",
        description="How many versions to generate. The best one is audible; the others are muted",
        default=1,
        min=1,
        max=16,
        options=set(),
    )
    use_own_sampling: bpy.props.BoolProperty(
        name="Sampling",
        description="Use the steps and guidance below instead of the pack's defaults",
        default=False,
        options=set(),
    )
    num_inference_steps: bpy.props.IntProperty(
        name="Steps",
        description="Number of sampling steps. More steps take longer and may sound cleaner",
        default=25,
        min=1,
        max=1000,
        soft_max=200,
        options=set(),
    )
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance",
        description="How closely the sound follows the prompt. 1 turns guidance off",
        default=3.0,
        min=0.0,
        max=20.0,
        soft_max=10.0,
        precision=1,
        options=set(),
    )
    control_strength: bpy.props.FloatProperty(
        name="Follow Picture",
        description="How strongly the motion in the picture controls the sound. 0 ignores it, 1 is the strength that "
        "the model was trained with",
        default=1.0,
        min=0.0,
        max=2.0,
        precision=2,
        options=set(),
    )

    def sound_settings(self, pack: str) -> SoundSettings:
        """Return the settings for a request. `pack`: name of a pack, or "" for the server's default."""
        return SoundSettings(
            pack=pack or None,
            seed=None if self.use_random_seed else self.seed,
            takes=self.takes,
            num_inference_steps=self.num_inference_steps if self.use_own_sampling else None,
            guidance_scale=self.guidance_scale if self.use_own_sampling else None,
            control_strength=self.control_strength,
        )


def register() -> None:
    bpy.utils.register_class(RewasStripSettings)
    bpy.utils.register_class(RewasSceneSettings)
    compat.STRIP_TYPE.rewas = bpy.props.PointerProperty(type=RewasStripSettings)
    bpy.types.Scene.rewas = bpy.props.PointerProperty(type=RewasSceneSettings)  # type: ignore[attr-defined]


def unregister() -> None:
    del bpy.types.Scene.rewas  # type: ignore[attr-defined]
    del compat.STRIP_TYPE.rewas
    bpy.utils.unregister_class(RewasSceneSettings)
    bpy.utils.unregister_class(RewasStripSettings)
