"""A job as it is sent to a cluster: one JSON object."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from rewas_api.v1 import rewas_pb2
from rewas_server.work.context import Result


@dataclass(frozen=True)
class RemoteWork:
    """A job for a replica.

    Attributes:
        job_id: Its id.
        request: As the client sent it.
        default_pack: Pack for requests that name none.
        media: SHA-256 in the content store of each target_url in the request.
        stop_grace_s: Seconds after which a replica ends if it has not stopped the job after the caller has hung up.
        log_level: Lowest level of the records that the replica sends.
        log_prompts: Whether prompts may be logged.
        is_alone: Whether the replica must run no other job at the same time.
    """

    job_id: str
    request: rewas_pb2.SubmitJobRequest
    default_pack: str
    media: Mapping[str, str]
    stop_grace_s: float
    log_level: str = "info"
    log_prompts: bool = False
    is_alone: bool = False

    def to_bytes(self) -> bytes:
        """Encode it."""
        body = {name: value for name, value in vars(self).items() if name != "request"}
        body["request"] = base64.b64encode(self.request.SerializeToString()).decode("ascii")
        return json.dumps(body).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> RemoteWork:
        """Decode it. Raises ValueError."""
        try:
            body = json.loads(data)
            body["request"] = rewas_pb2.SubmitJobRequest.FromString(base64.b64decode(body["request"]))
            return cls(**body)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not a request for a job: {data[:200]!r}") from error


def result_artifacts(result: Result) -> Iterator[rewas_pb2.Artifact]:
    """Yield the files of a result."""
    if isinstance(result, rewas_pb2.SoundResult):
        for take in result.takes:
            for stem in take.stems:
                yield stem.artifact
    elif isinstance(result, rewas_pb2.AudibleVideoResult):
        yield result.file


@dataclass(frozen=True)
class ClusterSettings:
    """The arguments of the Ray Serve application.

    Attributes:
        content_store: Folder or URL of the files that the server and the replicas share.
        token: Secret that each request contains.
        token_file: File with this secret, if `token` is empty.
        default_pack: Pack that the replicas load first.
        device: Device of the replicas; "auto" is the GPU that Ray assigns, or the CPU.
        execution: Options of rewas_engine.Execution.
        decoding: Limits of decoding that differ from the defaults, as in DecodingLimits.
        conflict_model: Folder of a CLIP model for the conflict check; "" uses the packs.
        avh_model: Folder with ImageBind, which measures AVHScores; "" uses the packs.
        picture_model, sound_model: Folders of models that caption pictures and sounds; "" uses the labels of the packs.
        language_model: Folder of a model that writes sentences about clips; "" uses fixed phrases.
        video_model: Folder of a model that generates videos with sound from a sentence; "" if there is none.
        cache_dir: Folder for copies of media; "" is a temporary one.
        cache_limit_bytes: Maximum size of these copies. The least recently used are deleted.
        min_replicas: Number of replicas that always run.
        max_replicas: Largest number of replicas. Ray adds replicas while jobs wait.
        jobs_per_replica: Number of jobs that a replica runs at the same time.
        cpus_per_replica: Processor cores that Ray reserves for each replica.
        gpus_per_replica: GPUs that Ray reserves for each replica.
        loopback_only: Whether the replicas listen only on 127.0.0.1.
    """

    content_store: str
    token: str = ""
    token_file: str = ""
    default_pack: str = "starter"
    device: str = "auto"
    execution: Mapping[str, object] | None = None
    decoding: Mapping[str, object] | None = None
    conflict_model: str = ""
    avh_model: str = ""
    picture_model: str = ""
    sound_model: str = ""
    language_model: str = ""
    video_model: str = ""
    cache_dir: str = ""
    cache_limit_bytes: int = 50 * 10**9
    min_replicas: int = 1
    max_replicas: int = 1
    jobs_per_replica: int = 1
    cpus_per_replica: float = 1.0
    gpus_per_replica: float = 0.0
    loopback_only: bool = False

    def to_arguments(self) -> dict[str, object]:
        """Return the arguments as a JSON object."""
        return asdict(self)
