"""Generate silence without a model, to test everything around the generation of sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stem_folder import StemFolder
from rewas_server.work.requests import SoundRequest, parse_request

_SAMPLE_RATE_HZ = 48000
_ENERGY_VALUES = 100


def generate_silence(
    work: rewas_pb2.SoundWork, folder: Path, on_progress: ProgressCallback, cancel: CancelSignal
) -> rewas_pb2.SoundResult:
    """Write a take of almost silent stems, as `LocalMaker` needs it."""
    request = parse_request(rewas_pb2.SubmitJobRequest(sound=work))
    assert isinstance(request, SoundRequest)
    assert request.source.duration_s is not None
    # Not quite silent, since a delivery reports silent stems.
    waveform = np.full((1, round(request.source.duration_s * _SAMPLE_RATE_HZ)), 1e-3, np.float32)
    metadata = BroadcastMetadata(Provenance(request.settings.prompt, 1, "pack", "1.0.0", "CC0-1.0"))
    stems = []
    with StemFolder(folder) as written:
        for role in ("primary", *(layer.name for layer in work.settings.layers)):
            file = written.write(waveform, _SAMPLE_RATE_HZ, role, metadata)
            artifact = rewas_pb2.Artifact(name=file.path.name, size_bytes=file.size_bytes, sha256=file.sha256)
            stem = rewas_pb2.Stem(role=role, artifact=artifact, sample_rate_hz=_SAMPLE_RATE_HZ, channels=1)
            stem.samples = file.samples
            stems.append(stem)
    energy = rewas_pb2.EnergyCurve(values=[-5.0] * _ENERGY_VALUES)
    return rewas_pb2.SoundResult(
        pack=rewas_pb2.Pack(name="pack", version="1.0.0", licence="CC0-1.0", sample_rate_hz=16000),
        takes=[rewas_pb2.Take(seed=1, stems=stems, output_energy=energy)],
        settings=work.settings,
        requested_energy=energy,
    )
