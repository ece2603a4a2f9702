"""Stems that arrive without a server."""

import wave
from pathlib import Path
from typing import Any

from conftest import part


def write_silence(path: Path, samples: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(48000)
        file.writeframes(bytes(3 * samples))
    return path


def arrive(key: str, takes: int = 1) -> Any:
    """Let the stems of a job arrive as its thread does: on the disk, in the record, and as a message."""
    messages, session = part("core.messages"), part("blender.shared_session").session()
    record = session.book.get(key)
    samples = round(record.clip.source_duration_s * 48000)
    received = messages.StemsReceived(
        key=key,
        job_id=f"job-{key}",
        generation_info=messages.GenerationInfo("untrained", "1.0.0", "Apache-2.0", 4, 1.0, 1.0),
        duration_s=record.clip.source_duration_s,
        takes=tuple(
            messages.ReceivedTake(
                number=number,
                seed=number,
                stems=(
                    messages.StemFile(
                        "primary",
                        write_silence(record.stems_folder / f"{key[:8]}-{number}.wav", samples),
                        48000,
                        1,
                        samples,
                    ),
                ),
                energy_mae_nats=0.5,
                energy_correlation=None,
            )
            for number in range(1, takes + 1)
        ),
    )
    session.book.change(key, received=received, job_id=received.job_id)
    session._messages.put(received)
    return received
