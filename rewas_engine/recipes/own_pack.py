"""Train a pack on the user's recordings, with the stages of the starter pack and a different model card."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import partial
from pathlib import Path

from torch import nn

from rewas_engine.errors import SettingsError
from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER
from rewas_engine.packs.description import OPTIONAL_ROLES, find_pack, read_pack
from rewas_engine.pipeline import ReWaS
from rewas_engine.recipes.model_card import MEASURING_STAGE
from rewas_engine.recipes.own_model_card import measure_held_out, write_own_model_card
from rewas_engine.recipes.pack_terms import VERSION, PackTerms, combine_terms
from rewas_engine.recipes.starter import COMPONENT_CLASSES, STARTING_POINTS_FILE, StarterTraining
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.continuation import check_continuable
from rewas_engine.training.pack_writer import write_pack
from rewas_engine.training.progress import PartCounter
from rewas_engine.training.recordings import Recordings
from rewas_engine.training.stage_order import STAGES
from rewas_engine.training.starting_point import StartingPoint

MEASURED_CLIPS = 32


class RecordingsTraining(StarterTraining):
    """One training run on recordings, in one folder.

    Without videos, the picture stage copies its components from the continued pack.

    Args:
        config: Settings; a ContinuedConfig to continue a pack.
        folder: Folder of the run.
        recordings: Training data.
        terms: Name and terms of the pack.
        report: Called with the progress.
        cancel: Stops the training when it is set.

    Raises:
        SettingsError: The continued pack cannot be continued, or there are neither videos nor a pack to continue.
    """

    def __init__(
        self,
        config: StarterConfig,
        folder: Path,
        recordings: Recordings,
        terms: PackTerms,
        *,
        report: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        has_videos = any(recording.is_seen for recording in recordings.catalog.recordings)
        super().__init__(
            config,
            folder,
            sounds=recordings,
            pictures=recordings if has_videos else None,
            name=terms.name,
            report=report,
            cancel=cancel,
        )
        self.recordings, self.terms = recordings, terms
        if not has_videos and not config.start_from:
            raise SettingsError("There are no videos to train the estimator on.", "Add videos, or start from a pack.")
        if config.start_from:
            clips = recordings.clips
            check_continuable(
                read_pack(find_pack(config.start_from)),
                COMPONENT_CLASSES,
                self.front_end.config,
                (Fraction(clips.frame_rate), clips.width, clips.height),
                SENTENCE_ENCODER,
            )

    def write_pack(self) -> None:
        """Write the pack to `<folder>/pack/<name>` with figures on held-out recordings and its model card."""
        self._clear_unmeasured_pack()
        path, facts = self.pack_folder, self.recordings.facts()
        words = sorted(set(self.recordings.captions()))
        continued = read_pack(find_pack(self.config.start_from)).info if self.config.start_from else None
        combined = combine_terms(self.terms, continued)
        listed = ", ".join(words[:5]) + (" …" if len(words) > 5 else "")
        write_pack(
            {**self._untrained_components(), **self._components()},
            path,
            schedule=self.schedule(),
            sentence_encoder=SENTENCE_ENCODER,
            audio=self.front_end.config,
            version=VERSION,
            summary=f"Trained on {facts['recordings'] - facts['held_out_recordings']} recordings: {listed[:200]}",
            licence=combined["licence"],
            permits=combined["permits"],
            made_from=combined["made_from"],
        )
        on_clip = partial(PartCounter(self.report).report, MEASURING_STAGE)
        model = ReWaS.from_pretrained(path, device=self.device)
        figures = measure_held_out(model, self.recordings.held_out(MEASURED_CLIPS), on_clip, self.cancel)
        began = json.loads((self.folder / STARTING_POINTS_FILE).read_text("utf-8"))
        records = {
            stage: json.loads((self.folder / f"{stage}.record.json").read_text("utf-8"))
            for stage in STAGES
            if (self.folder / f"{stage}.record.json").is_file()
        }
        write_own_model_card(path, self.terms, self.config, self.recordings, began, continued, records, figures)

    def _untrained_components(self) -> dict[str, nn.Module]:
        """Return components of the continued pack that are not trained here."""
        beginning = StartingPoint(self.config.start_from)
        found = {role: beginning.component(role) for role in OPTIONAL_ROLES if role not in COMPONENT_CLASSES}
        return {role: component for role, component in found.items() if component is not None}
