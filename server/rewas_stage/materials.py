"""Materials of scenes as Blender's shader nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

_CLEAR = 0.85
"""Transmission of clear materials. Fully clear ones would be almost invisible at this size."""


def make_material(look: Mapping[str, Any]) -> bpy.types.Material:
    """A material from its description in the scene's format."""
    material = bpy.data.materials.new("material")
    if not material.use_nodes:  # from 5.0, every material has nodes
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*look["colour"], 1.0)
    shader.inputs["Roughness"].default_value = look["roughness"]
    shader.inputs["Metallic"].default_value = 1.0 if look["metallic"] else 0.0
    if look["clear"]:
        shader.inputs["Transmission Weight"].default_value = _CLEAR
    if look["glow"] > 0:
        shader.inputs["Emission Color"].default_value = (*look["colour"], 1.0)
        shader.inputs["Emission Strength"].default_value = look["glow"]
    if look["pattern"] != "plain":
        colour = _pattern(material.node_tree, look)
        links.new(colour, shader.inputs["Base Color"])
    return material


def set_glow(material: bpy.types.Material, strength: float) -> None:
    """Change how much light a material emits."""
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Emission Strength"].default_value = strength


def _pattern(tree: bpy.types.NodeTree, look: Mapping[str, Any]) -> bpy.types.NodeSocket:
    """Nodes that alternate the two colours in object space; returns the socket of the colour."""
    place = tree.nodes.new("ShaderNodeTexCoord").outputs["Object"]
    scale = 1.0 / look["pattern_m"]
    first, second = (*look["colour"], 1.0), (*look["second_colour"], 1.0)
    kind = look["pattern"]
    if kind == "checks":
        node = tree.nodes.new("ShaderNodeTexChecker")
        node.inputs["Color1"].default_value, node.inputs["Color2"].default_value = first, second
        node.inputs["Scale"].default_value = scale
        # Off the lattice, because a face between two squares would flicker.
        mapping = tree.nodes.new("ShaderNodeMapping")
        mapping.inputs["Location"].default_value = (0.0131, 0.0173, 0.0119)
        tree.links.new(place, mapping.inputs["Vector"])
        tree.links.new(mapping.outputs["Vector"], node.inputs["Vector"])
        return node.outputs["Color"]
    if kind == "bricks":
        node = tree.nodes.new("ShaderNodeTexBrick")
        node.inputs["Color1"].default_value, node.inputs["Color2"].default_value = first, first
        node.inputs["Mortar"].default_value = second
        node.inputs["Scale"].default_value = 0.5 * scale
        # Bricks are laid in x and y, but walls extend in x and z.
        mapping = tree.nodes.new("ShaderNodeMapping")
        mapping.inputs["Rotation"].default_value = (1.5708, 0.0, 0.0)
        tree.links.new(place, mapping.inputs["Vector"])
        tree.links.new(mapping.outputs["Vector"], node.inputs["Vector"])
        return node.outputs["Color"]
    share = _share(tree, place, kind, scale)
    mix = tree.nodes.new("ShaderNodeValToRGB")
    mix.color_ramp.elements[0].color, mix.color_ramp.elements[1].color = first, second
    if kind in ("stripes", "planks", "stones"):
        low, high = (0.42, 0.58) if kind != "planks" else (0.86, 0.94)
        mix.color_ramp.elements[0].position, mix.color_ramp.elements[1].position = low, high
    tree.links.new(share, mix.inputs["Fac"])
    return mix.outputs["Color"]


def _share(tree: bpy.types.NodeTree, place: bpy.types.NodeSocket, kind: str, scale: float) -> bpy.types.NodeSocket:
    """Nodes for the share of the second colour, 0..1."""
    if kind in ("stripes", "planks"):
        node = tree.nodes.new("ShaderNodeTexWave")
        node.inputs["Scale"].default_value = 0.314 * scale  # a period of 1 m at a scale of 0.314
        tree.links.new(place, node.inputs["Vector"])
        return _output(node, "Fac", "Factor")
    node = tree.nodes.new("ShaderNodeTexNoise")
    node.inputs["Scale"].default_value = scale
    node.inputs["Detail"].default_value = 1.0
    if kind == "grain":  # wood: the noise is stretched along x
        mapping = tree.nodes.new("ShaderNodeMapping")
        mapping.inputs["Scale"].default_value = (0.15, 1.0, 1.0)
        tree.links.new(place, mapping.inputs["Vector"])
        place = mapping.outputs["Vector"]
    tree.links.new(place, node.inputs["Vector"])
    return _output(node, "Fac", "Factor")


def _output(node: bpy.types.Node, *names: str) -> bpy.types.NodeSocket:
    """The first of the outputs that this version of Blender has."""
    return next(node.outputs[name] for name in names if name in node.outputs)
