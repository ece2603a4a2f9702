"""Descriptions of clips, from coarse to fine: captions of the picture and the sound, then sentences that join them.

The steps are those used to annotate TAVGBench (Mao et al. 2024, section 3).
"""
