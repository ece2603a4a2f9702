"""Selection of the model that compares prompts with video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import PackError
from rewas_engine.matching.clip_loading import load_clip_encoder
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.matching.embedding_matcher import EmbeddingMatcher
from rewas_engine.matching.evidence import VideoMatcher
from rewas_engine.matching.openai_clip_matcher import OpenAiClipMatcher
from rewas_engine.models.clip import ClipEncoder
from rewas_engine.packs.description import CONFLICT_ROLE, PackDescription


def select_matcher(
    description: PackDescription, conflict_model: Path | None, joint: JointScorer | None, device: str
) -> VideoMatcher | None:
    """Select the matcher: the given CLIP model, else the pack's own CLIP model, else its joint space, else None.

    Raises PackError if a CLIP model cannot be loaded.
    """
    pack, pack_phrases = description.info.name, () if joint is None else joint.known_words
    if conflict_model is not None:
        encoder = load_clip_encoder(conflict_model, device)
        return OpenAiClipMatcher(encoder, f"the CLIP model {conflict_model.resolve().name}", pack_phrases)
    class_name = description.components.get(CONFLICT_ROLE)
    if class_name is not None:
        if class_name != ClipEncoder.__name__:
            raise PackError(
                f"The pack {pack} names {class_name} for its conflict check, which this version does not know.",
                "Update ReWaS, or choose another pack.",
            )
        encoder = load_clip_encoder(description.component_folder / CONFLICT_ROLE, device)
        return OpenAiClipMatcher(encoder, f"the CLIP model of the pack {pack}", pack_phrases)
    if joint is not None:
        return EmbeddingMatcher(joint, pack, Fraction(description.picture["frame_rate"]))
    return None
