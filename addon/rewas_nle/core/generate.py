# SPDX-License-Identifier: GPL-3.0-or-later
"""The use case: hand in clips, follow their jobs, bring the stems."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..timeline.clips import clip_to_otio
from ..timeline.names import sound_file_name, unused_name
from ..timeline.strips import ChosenClip
from .contract import TroubleError, open_client, trouble_of
from .messages import (
    ArrivedTake,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobProgress,
    MadeWith,
    Message,
    StemFile,
    StemsArrived,
)

if TYPE_CHECKING:
    from rewas_api.client import RewasClient

Post = Callable[[Message], object]


@dataclass(frozen=True)
class SoundSettings:
    """How the sound is made; None means the pack's or the server's default."""

    pack: str | None = None
    seed: int | None = None
    takes: int = 1
    num_steps: int | None = None
    guidance_scale: float | None = None
    control_strength: float | None = None


@dataclass(frozen=True)
class Order:
    """One clip to make sound for. key: a UUID; it is also the idempotency key of the job.

    scene_name: where the strip stands. stems_folder: where its sound goes, absolute. request: names the press of
    Generate that it came from, which all its clips share.
    """

    key: str
    clip: ChosenClip
    settings: SoundSettings
    scene_name: str
    stems_folder: Path
    request: str = ""


@dataclass
class _ActiveJob:
    order: Order
    cancelled: threading.Event = field(default_factory=threading.Event)
    job_id: str = ""
    is_finished: bool = False


class Conversation:
    """One press of Generate: a thread that talks with the server until each of its orders has come to an end.

    post receives messages in that thread. Every order ends with exactly one of StemsArrived, JobFailed, JobCancelled,
    unless the conversation is closed before.
    """

    def __init__(self, orders: Sequence[Order], *, address: str, online_access: bool, post: Post) -> None:
        self._orders = {order.key: _ActiveJob(order) for order in orders}
        self._address = address
        self._online_access = online_access
        self._post = post
        self._closed = threading.Event()
        self._client: RewasClient | None = None
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name="rewas-conversation", daemon=True)]

    def start(self) -> None:
        """Begin to talk."""
        self._threads[0].start()

    @property
    def is_finished(self) -> bool:
        """Whether its threads have ended."""
        return not any(thread.is_alive() for thread in self._threads)

    def cancel(self, key: str) -> bool:
        """Ask for one order to be stopped; False where it is not one of ours. Returns at once."""
        under_way = self._orders.get(key)
        if under_way is None:
            return False
        with self._lock:
            under_way.cancelled.set()
            job_id = under_way.job_id
        if job_id and not under_way.is_finished:
            self._cancel_on_server(job_id)
        return True

    def close(self) -> None:
        """Stop every order and hang up. Returns at once; follow with join()."""
        for key in self._orders:
            self.cancel(key)
        self._closed.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end; False where one is still running after timeout_s seconds."""
        for thread in self._threads[1:]:
            thread.join(timeout_s)
        if self._client is not None:
            self._client.close()
        self._threads[0].join(timeout_s)
        return self.is_finished

    def _cancel_on_server(self, job_id: str) -> None:
        client = self._client
        if client is None:
            return

        def ask() -> None:
            try:
                client.cancel(job_id)
            except Exception as error:  # the watching thread meets the same trouble and reports it
                print(f"ReWaS: the job {job_id} could not be cancelled: {trouble_of(error)}")  # noqa: T201

        thread = threading.Thread(target=ask, name="rewas-cancel", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        try:
            with open_client(self._address, online_access=self._online_access) as client:
                self._client = client
                allowed_roots = _shared_folders(client)
                for under_way in self._orders.values():
                    self._guarded(under_way, lambda under_way: self._submit(client, under_way, allowed_roots))
                for under_way in self._orders.values():
                    if not under_way.is_finished:
                        self._guarded(under_way, lambda under_way: self._follow(client, under_way))
        except Exception as error:
            if not isinstance(error, TroubleError) and not hasattr(error, "remedy"):
                traceback.print_exc()
            for under_way in self._orders.values():
                self._end(under_way, JobFailed(under_way.order.key, trouble_of(error)))

    def _guarded(self, under_way: _ActiveJob, act: Callable[[_ActiveJob], None]) -> None:
        from rewas_api import errors

        try:
            act(under_way)
        except errors.JobCancelled:
            self._end(under_way, JobCancelled(under_way.order.key))
        except (errors.ServerUnavailable, errors.ContractMismatch):
            # Nothing else will go better: the conversation ends, and every order with it.
            raise
        except Exception as error:
            if not isinstance(error, errors.ProblemError | OSError):
                traceback.print_exc()
            self._end(under_way, JobFailed(under_way.order.key, trouble_of(error)))

    def _end(self, under_way: _ActiveJob, message: StemsArrived | JobFailed | JobCancelled) -> None:
        if not under_way.is_finished and not self._closed.is_set():
            self._post(message)
        under_way.is_finished = True

    def _submit(self, client: RewasClient, under_way: _ActiveJob, allowed_roots: Sequence[Path]) -> None:
        order = under_way.order
        if under_way.cancelled.is_set():
            self._end(under_way, JobCancelled(order.key))
            return
        work = _sound_work(order, uploaded=_uploaded_media(client, order.clip, allowed_roots))
        job = client.submit(work, idempotency_key=order.key)
        with self._lock:
            under_way.job_id = job.id
            cancel_now = under_way.cancelled.is_set()
        self._post(JobAccepted(order.key, job.id))
        if cancel_now:
            client.cancel(job.id)

    def _follow(self, client: RewasClient, under_way: _ActiveJob) -> None:
        order = under_way.order
        job = client.wait(under_way.job_id, on_snapshot=lambda job: self._post(_progress(order.key, job)))
        takes = tuple(
            ArrivedTake(
                number=number,
                seed=take.seed,
                stems=tuple(self._fetch(client, order, job.id, number, stem) for stem in take.stems),
                energy_mae_nats=take.energy_mae_nats,
                energy_correlation=take.energy_correlation if take.HasField("energy_correlation") else None,
            )
            for number, take in enumerate(job.sound.takes, start=1)
        )
        sound = job.sound
        duration = sound.clip.duration_s
        made_with = MadeWith(
            pack=sound.pack.name,
            pack_version=sound.pack.version,
            licence=sound.pack.licence,
            num_steps=sound.settings.num_steps,
            guidance_scale=sound.settings.guidance_scale,
            control_strength=sound.settings.control_strength,
        )
        duration_s = Fraction(duration.numerator, max(duration.denominator, 1))
        self._end(under_way, StemsArrived(order.key, job.id, made_with, duration_s, takes))

    def _fetch(self, client: RewasClient, order: Order, job_id: str, take: int, stem: Any) -> StemFile:
        order.stems_folder.mkdir(parents=True, exist_ok=True)
        name = sound_file_name(order.clip.name, stem.role, take, job_id)
        name = unused_name(name, lambda name: (order.stems_folder / name).exists())
        path = client.fetch(job_id, stem.artifact, order.stems_folder / name)
        return StemFile(stem.role, path, stem.sample_rate_hz, stem.channels, stem.samples)


def _shared_folders(client: RewasClient) -> list[Path]:
    """Folders from which the server reads by path: its allowed roots, where it runs on this machine."""
    from rewas_api.addresses import validate_address
    from rewas_api.errors import ProblemError

    info = client.server_info()
    try:
        validate_address(client.address)
    except ProblemError:
        return []
    return [Path(root) for root in info.allowed_roots]


def _uploaded_media(client: RewasClient, clip: ChosenClip, allowed_roots: Sequence[Path]) -> Mapping[str, str]:
    """The clip's media by hash, uploaded, unless the server reads it where it lies."""
    media = Path(clip.path).resolve()
    if any(media.is_relative_to(root) for root in allowed_roots):
        return {}
    return {clip.path: client.upload(media)}


def _sound_work(order: Order, *, uploaded: Mapping[str, str]) -> Any:
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.v1 import rewas_pb2

    chosen = order.settings
    settings = ClipSettings(
        prompt=order.clip.prompt,
        pack=chosen.pack,
        seed=chosen.seed,
        takes=chosen.takes,
        num_steps=chosen.num_steps,
        guidance_scale=chosen.guidance_scale,
        control_strength=chosen.control_strength,
    )
    clip = clip_to_otio(order.clip)
    return rewas_pb2.SoundWork(
        clip_otio_json=clip.to_json_string(), settings=settings.to_proto(), uploaded_media=dict(uploaded)
    )


def _progress(key: str, job: Any) -> JobProgress:
    from rewas_api.v1 import rewas_pb2

    state = rewas_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
    stage = rewas_pb2.Stage.Name(job.stage).removeprefix("STAGE_").lower()
    return JobProgress(
        key=key,
        revision=job.revision,
        # The stems are still to be fetched: the job is over for the server, not for the user.
        state=state if state in ("queued", "running", "cancelling") else "running",
        stage="" if stage == "unspecified" else stage,
        step=job.step,
        total_steps=job.total_steps,
        fraction=job.fraction,
        time_left_s=job.time_left_s if job.HasField("time_left_s") else None,
    )
