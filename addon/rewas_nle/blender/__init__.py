# SPDX-License-Identifier: GPL-3.0-or-later
"""The only package of the add-on that imports bpy.

To use the add-on from a script or in background mode:

    bpy.ops.preferences.addon_enable(module="bl_ext.user_default.rewas_nle")
    bpy.context.preferences.addons["bl_ext.user_default.rewas_nle"].preferences.server_address = "127.0.0.1:50071"
    strip.select = True; strip.rewas.prompt = "a ball bounces"     # per strip
    strip.rewas.settings.lock_seed = True; strip.rewas.settings.seed = 7
    bpy.ops.rewas.generate()                                       # returns immediately
    bpy.ops.rewas.wait(timeout_s=120)                              # background mode only: blocks until jobs end
    bpy.ops.rewas.export_timeline(filepath="timeline.otio")

On Blender 5 the operators work on `workspace.sequencer_scene` where one is set, else on the context's scene; no area
or region is needed. Reports of kind ERROR raise RuntimeError in scripts, as for every Blender operator.
"""
