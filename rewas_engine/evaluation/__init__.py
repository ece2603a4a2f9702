"""Evaluation of packs: figures, sections, baselines and benchmarks."""
