"""Model packs: description, library, loading of components, and backbones."""
