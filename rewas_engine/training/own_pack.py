"""Training a pack of one's own from one's own recordings: the starter's stages on other clips, with another card."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

from torch import nn

from rewas_engine.errors import SettingsError
from rewas_engine.packs import OPTIONAL_ROLES, find_pack, read_pack
from rewas_engine.pipeline import ReWaS
from rewas_engine.results import CancelSignal, PackInfo
from rewas_engine.training.beginning import Beginning
from rewas_engine.training.card import MEASURING
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.continued import check_continuable
from rewas_engine.training.own_card import measure_on_held_out, write_own_card
from rewas_engine.training.pack import write_pack
from rewas_engine.training.progress import Counting, ReportTraining
from rewas_engine.training.recordings import Recordings
from rewas_engine.training.stage_order import STAGES
from rewas_engine.training.starter import BEGAN_FILE, COMPONENT_CLASSES, SENTENCE_ENCODER, StarterTraining

VERSION = "1.0.0"
MEASURED_CLIPS = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class PackTerms:
    """What a pack is called, and on which terms it and its sounds may be used.

    name: letters, digits, dots, hyphens and underscores; also the name of its folder. licence: its name or SPDX
    identifier. permits: in a sentence, what the owner of the recordings lets people do with pack and sounds.
    Raises SettingsError for a name that is no folder's, and for terms that say nothing.
    """

    name: str
    licence: str
    permits: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"{self.name!r} is no name for a pack.", "Use letters, digits, dots, hyphens and underscores."
            )
        for what in ("licence", "permits"):
            text = getattr(self, what)
            if not text.strip() or "\n" in text or len(text) > 1000:
                raise SettingsError(
                    f"What the pack {what if what == 'permits' else 'is licensed under'} is not said in one line.",
                    "Say under which licence the pack is, and what may be done with it and with its sounds.",
                )


def told_terms(terms: PackTerms, source: PackInfo | None) -> dict[str, str]:
    """What stands in a pack of its terms; of one that is made from another those of both hold. source: the other."""
    if source is None:
        return {"licence": terms.licence, "permits": terms.permits, "made_from": ""}

    def both(ours: str, theirs: str) -> str:
        return ours if ours == theirs else f"{ours.rstrip(' .')}; and, for what it is made from: {theirs}"

    return {
        "licence": both(terms.licence, source.licence),
        "permits": both(terms.permits, source.permits),
        "made_from": f"{source.name} {source.version}",
    }


class RecordingsTraining(StarterTraining):
    """One training run on recordings in one folder.

    config: a ContinuedConfig where a pack is continued. Without videos the picture stage takes its components from
    the pack that is continued. Raises SettingsError where that pack is of another kind.
    """

    def __init__(
        self,
        config: StarterConfig,
        folder: Path,
        recordings: Recordings,
        terms: PackTerms,
        *,
        report: ReportTraining | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        has_videos = any(recording.is_seen for recording in recordings.listing.recordings)
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
            raise SettingsError(
                "There are no videos to learn picture to energy from.", "Give videos, or a pack to start from."
            )
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
        """The pack in `<folder>/pack/<name>`, measured on recordings that were held out, with its model card."""
        self._clear_unmeasured_pack()
        path, facts = self.pack_folder, self.recordings.facts()
        words = sorted(set(self.recordings.captions()))
        continued = read_pack(find_pack(self.config.start_from)).info if self.config.start_from else None
        told = told_terms(self.terms, continued)
        listed = ", ".join(words[:5]) + (" …" if len(words) > 5 else "")
        write_pack(
            {**self._carried_over(), **self._components()},
            path,
            schedule=self.schedule(),
            sentence_encoder=SENTENCE_ENCODER,
            audio=self.front_end.config,
            version=VERSION,
            summary=f"Trained on {facts['recordings'] - facts['held_out_recordings']} recordings: {listed[:200]}",
            licence=told["licence"],
            permits=told["permits"],
            made_from=told["made_from"],
        )
        on_clip = partial(Counting(self.report).tell, MEASURING)
        model = ReWaS.from_pretrained(path, device=self.device)
        figures = measure_on_held_out(model, self.recordings.held_out(MEASURED_CLIPS), on_clip, self.cancel)
        began = json.loads((self.folder / BEGAN_FILE).read_text("utf-8"))
        records = {
            stage: json.loads((self.folder / f"{stage}.record.json").read_text("utf-8"))
            for stage in STAGES
            if (self.folder / f"{stage}.record.json").is_file()
        }
        write_own_card(path, self.terms, self.config, self.recordings, began, continued, records, figures)

    def _carried_over(self) -> dict[str, nn.Module]:
        """What the pack that is continued has beyond the components that are trained here, as it is."""
        beginning = Beginning(self.config.start_from)
        found = {role: beginning.component(role) for role in OPTIONAL_ROLES if role not in COMPONENT_CLASSES}
        return {role: component for role, component in found.items() if component is not None}
