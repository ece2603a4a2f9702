"""Model packs: their description, library, components, loading and backbones."""
