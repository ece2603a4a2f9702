"""How each stem of a result was made."""

from __future__ import annotations

from collections.abc import Iterable

from rewas_api.clip_settings import ClipSettings
from rewas_api.v1 import rewas_pb2
from rewas_engine.media.stem import MIX, PRIMARY
from rewas_engine.recordings.credits import UsedRecording
from rewas_server.delivery.provenance import Provenance, mixed, reference_name, with_recordings


class SoundProvenance:
    """How the stems of a sound were made.

    Args:
        settings: The settings of the sound.
        pack: The pack of the primary sound.
    """

    def __init__(self, settings: ClipSettings, pack: rewas_pb2.Pack) -> None:
        self._settings = settings
        self._pack = pack
        self._prompts = {layer.name: layer.prompt for layer in settings.layers or ()}

    def of_stem(self, take: rewas_pb2.Take, role: str) -> Provenance:
        """Return how a stem of a take was made."""
        if role != MIX:
            return self._of_sound(take, role)
        parts = [self._of_sound(take, each) for each in (PRIMARY, *self._prompts)]
        return mixed(parts, "; ".join([self._settings.prompt, *self._prompts.values()]), take.seed)

    def pack_of(self, take: rewas_pb2.Take, role: str) -> rewas_pb2.Pack:
        """Return the pack of a stem; for a mix, that of the primary sound."""
        layer = next((each for each in take.layers if each.name == role), None)
        return layer.pack if layer is not None and layer.HasField("pack") else self._pack

    def _of_sound(self, take: rewas_pb2.Take, role: str) -> Provenance:
        layer = next((each for each in take.layers if each.name == role), None)
        made: rewas_pb2.Take | rewas_pb2.LayerResult = take if layer is None else layer
        pack = self.pack_of(take, role)
        provenance = Provenance(
            prompt=self._prompts.get(role, self._settings.prompt),
            seed=made.seed,
            pack_name=pack.name,
            pack_version=pack.version,
            licence=pack.licence,
            permitted_use=pack.permitted_use,
            reference=reference_name(self._settings, role),
        )
        performed = with_recordings(provenance, recordings_from(made.recordings))
        if pack.is_library:
            return performed
        # A range of a performed sound that a model has generated again.
        return mixed([provenance, performed], provenance.prompt, provenance.seed) if made.recordings else provenance


def recordings_from(messages: Iterable[rewas_pb2.UsedRecording]) -> tuple[UsedRecording, ...]:
    """Convert messages to recordings."""
    return tuple(
        UsedRecording(each.name, each.words, each.licence, each.credit, each.content_sha256) for each in messages
    )


def recordings_of_take(take: rewas_pb2.Take) -> tuple[UsedRecording, ...]:
    """Return the recordings in all sounds of a take, each once."""
    sounds = [take.recordings, *(layer.recordings for layer in take.layers)]
    return tuple(dict.fromkeys(recording for used in sounds for recording in recordings_from(used)))


def recordings_by_role(take: rewas_pb2.Take) -> dict[str, tuple[UsedRecording, ...]]:
    """Return the recordings in each stem of a take, by its role; stems without recordings are left out."""
    sounds = {PRIMARY: recordings_from(take.recordings)} | {
        layer.name: recordings_from(layer.recordings) for layer in take.layers
    }
    sounds[MIX] = recordings_of_take(take)
    roles = {stem.role for stem in take.stems}
    return {role: used for role, used in sounds.items() if used and role in roles}


__all__ = ["SoundProvenance", "recordings_by_role", "recordings_from", "recordings_of_take"]
