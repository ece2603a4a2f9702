# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's side: the only code that imports bpy.

Driving the add-on without a window, for scripts and renders in the background:

    bpy.ops.preferences.addon_enable(module="bl_ext.user_default.rewas_nle")
    bpy.context.preferences.addons["bl_ext.user_default.rewas_nle"].preferences.server_address = "127.0.0.1:50071"
    strip.select = True; strip.rewas.prompt = "a ball bounces"     # per strip
    scene.rewas.use_random_seed = False; scene.rewas.seed = 7      # per scene
    bpy.ops.rewas.generate()                                       # returns at once
    bpy.ops.rewas.wait(timeout_s=120)                              # background only: drains until the jobs are over
    bpy.ops.rewas.export_timeline(filepath="timeline.otio")

On Blender 5 the operators work on `workspace.sequencer_scene` where one is set, else on the context's scene; no area
or region is needed. Reports of kind ERROR raise RuntimeError in scripts, as for every Blender operator.
"""
