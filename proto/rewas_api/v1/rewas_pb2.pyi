from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProblemKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROBLEM_KIND_UNSPECIFIED: _ClassVar[ProblemKind]
    PROBLEM_KIND_SETTINGS: _ClassVar[ProblemKind]
    PROBLEM_KIND_MEDIA: _ClassVar[ProblemKind]
    PROBLEM_KIND_PACK: _ClassVar[ProblemKind]
    PROBLEM_KIND_TIMELINE: _ClassVar[ProblemKind]
    PROBLEM_KIND_PERMISSION: _ClassVar[ProblemKind]
    PROBLEM_KIND_RESOURCES: _ClassVar[ProblemKind]
    PROBLEM_KIND_INTERNAL: _ClassVar[ProblemKind]
    PROBLEM_KIND_NOT_FOUND: _ClassVar[ProblemKind]
    PROBLEM_KIND_SERVER: _ClassVar[ProblemKind]
    PROBLEM_KIND_CONFLICT: _ClassVar[ProblemKind]
    PROBLEM_KIND_ACCESS: _ClassVar[ProblemKind]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_BATCH: _ClassVar[Priority]

class EnergySource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENERGY_SOURCE_UNSPECIFIED: _ClassVar[EnergySource]
    ENERGY_SOURCE_VIDEO: _ClassVar[EnergySource]
    ENERGY_SOURCE_AUDIO: _ClassVar[EnergySource]
    ENERGY_SOURCE_USER: _ClassVar[EnergySource]

class Control(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTROL_UNSPECIFIED: _ClassVar[Control]
    CONTROL_ENERGY: _ClassVar[Control]
    CONTROL_ONSETS: _ClassVar[Control]

class Sampler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAMPLER_UNSPECIFIED: _ClassVar[Sampler]
    SAMPLER_DDIM: _ClassVar[Sampler]
    SAMPLER_DPM_PLUS_PLUS: _ClassVar[Sampler]
    SAMPLER_DPM_PLUS_PLUS_SDE: _ClassVar[Sampler]
    SAMPLER_UNIPC: _ClassVar[Sampler]

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[Level]
    LEVEL_STANDARD: _ClassVar[Level]
    LEVEL_RAW: _ClassVar[Level]

class Rank(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RANK_UNSPECIFIED: _ClassVar[Rank]
    RANK_SCORE: _ClassVar[Rank]
    RANK_AVH: _ClassVar[Rank]

class ConflictPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFLICT_POLICY_UNSPECIFIED: _ClassVar[ConflictPolicy]
    CONFLICT_POLICY_OFF: _ClassVar[ConflictPolicy]
    CONFLICT_POLICY_WARN: _ClassVar[ConflictPolicy]
    CONFLICT_POLICY_SOFTEN: _ClassVar[ConflictPolicy]
    CONFLICT_POLICY_REFUSE: _ClassVar[ConflictPolicy]

class LayerEnergy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYER_ENERGY_UNSPECIFIED: _ClassVar[LayerEnergy]
    LAYER_ENERGY_STEADY: _ClassVar[LayerEnergy]
    LAYER_ENERGY_FOLLOWING: _ClassVar[LayerEnergy]
    LAYER_ENERGY_VIDEO: _ClassVar[LayerEnergy]

class Tail(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TAIL_UNSPECIFIED: _ClassVar[Tail]
    TAIL_CURVE: _ClassVar[Tail]
    TAIL_NATURAL: _ClassVar[Tail]

class Room(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROOM_UNSPECIFIED: _ClassVar[Room]
    ROOM_IN: _ClassVar[Room]
    ROOM_OUT: _ClassVar[Room]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLING: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
    JOB_STATE_PAUSING: _ClassVar[JobState]
    JOB_STATE_PAUSED: _ClassVar[JobState]

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_DECODE: _ClassVar[Stage]
    STAGE_ENERGY: _ClassVar[Stage]
    STAGE_CONFLICT: _ClassVar[Stage]
    STAGE_SAMPLE: _ClassVar[Stage]
    STAGE_VOCODE: _ClassVar[Stage]
    STAGE_DELIVER: _ClassVar[Stage]
    STAGE_LOAD: _ClassVar[Stage]
    STAGE_PERFORM: _ClassVar[Stage]
    STAGE_DESCRIBE: _ClassVar[Stage]

class InterruptionCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERRUPTION_CAUSE_UNSPECIFIED: _ClassVar[InterruptionCause]
    INTERRUPTION_CAUSE_WORKER_ENDED: _ClassVar[InterruptionCause]
    INTERRUPTION_CAUSE_OUT_OF_MEMORY: _ClassVar[InterruptionCause]
    INTERRUPTION_CAUSE_DEADLINE: _ClassVar[InterruptionCause]
    INTERRUPTION_CAUSE_SERVER_ENDED: _ClassVar[InterruptionCause]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_AGREE: _ClassVar[Verdict]
    VERDICT_UNSURE: _ClassVar[Verdict]
    VERDICT_CONFLICT: _ClassVar[Verdict]
    VERDICT_UNSUPPORTED: _ClassVar[Verdict]

class PromptOrigin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMPT_ORIGIN_UNSPECIFIED: _ClassVar[PromptOrigin]
    PROMPT_ORIGIN_PICTURE: _ClassVar[PromptOrigin]
    PROMPT_ORIGIN_SOUND: _ClassVar[PromptOrigin]

class TakeFault(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TAKE_FAULT_UNSPECIFIED: _ClassVar[TakeFault]
    TAKE_FAULT_SILENT: _ClassVar[TakeFault]
    TAKE_FAULT_CLIPPED: _ClassVar[TakeFault]
    TAKE_FAULT_STUCK: _ClassVar[TakeFault]
    TAKE_FAULT_WRONG: _ClassVar[TakeFault]

class NoteKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTE_KIND_UNSPECIFIED: _ClassVar[NoteKind]
    NOTE_KIND_LITTLE_MOTION: _ClassVar[NoteKind]
    NOTE_KIND_SILENT_ENERGY: _ClassVar[NoteKind]
    NOTE_KIND_UNKNOWN_PROMPT: _ClassVar[NoteKind]
    NOTE_KIND_AUDIO_TRACK: _ClassVar[NoteKind]
    NOTE_KIND_RETIMED_SOUND: _ClassVar[NoteKind]
    NOTE_KIND_UNUSED_SETTING: _ClassVar[NoteKind]
    NOTE_KIND_REFERENCE: _ClassVar[NoteKind]
    NOTE_KIND_RECORDINGS_REPEAT: _ClassVar[NoteKind]
PROBLEM_KIND_UNSPECIFIED: ProblemKind
PROBLEM_KIND_SETTINGS: ProblemKind
PROBLEM_KIND_MEDIA: ProblemKind
PROBLEM_KIND_PACK: ProblemKind
PROBLEM_KIND_TIMELINE: ProblemKind
PROBLEM_KIND_PERMISSION: ProblemKind
PROBLEM_KIND_RESOURCES: ProblemKind
PROBLEM_KIND_INTERNAL: ProblemKind
PROBLEM_KIND_NOT_FOUND: ProblemKind
PROBLEM_KIND_SERVER: ProblemKind
PROBLEM_KIND_CONFLICT: ProblemKind
PROBLEM_KIND_ACCESS: ProblemKind
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_NORMAL: Priority
PRIORITY_BATCH: Priority
ENERGY_SOURCE_UNSPECIFIED: EnergySource
ENERGY_SOURCE_VIDEO: EnergySource
ENERGY_SOURCE_AUDIO: EnergySource
ENERGY_SOURCE_USER: EnergySource
CONTROL_UNSPECIFIED: Control
CONTROL_ENERGY: Control
CONTROL_ONSETS: Control
SAMPLER_UNSPECIFIED: Sampler
SAMPLER_DDIM: Sampler
SAMPLER_DPM_PLUS_PLUS: Sampler
SAMPLER_DPM_PLUS_PLUS_SDE: Sampler
SAMPLER_UNIPC: Sampler
LEVEL_UNSPECIFIED: Level
LEVEL_STANDARD: Level
LEVEL_RAW: Level
RANK_UNSPECIFIED: Rank
RANK_SCORE: Rank
RANK_AVH: Rank
CONFLICT_POLICY_UNSPECIFIED: ConflictPolicy
CONFLICT_POLICY_OFF: ConflictPolicy
CONFLICT_POLICY_WARN: ConflictPolicy
CONFLICT_POLICY_SOFTEN: ConflictPolicy
CONFLICT_POLICY_REFUSE: ConflictPolicy
LAYER_ENERGY_UNSPECIFIED: LayerEnergy
LAYER_ENERGY_STEADY: LayerEnergy
LAYER_ENERGY_FOLLOWING: LayerEnergy
LAYER_ENERGY_VIDEO: LayerEnergy
TAIL_UNSPECIFIED: Tail
TAIL_CURVE: Tail
TAIL_NATURAL: Tail
ROOM_UNSPECIFIED: Room
ROOM_IN: Room
ROOM_OUT: Room
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLING: JobState
JOB_STATE_CANCELLED: JobState
JOB_STATE_PAUSING: JobState
JOB_STATE_PAUSED: JobState
STAGE_UNSPECIFIED: Stage
STAGE_DECODE: Stage
STAGE_ENERGY: Stage
STAGE_CONFLICT: Stage
STAGE_SAMPLE: Stage
STAGE_VOCODE: Stage
STAGE_DELIVER: Stage
STAGE_LOAD: Stage
STAGE_PERFORM: Stage
STAGE_DESCRIBE: Stage
INTERRUPTION_CAUSE_UNSPECIFIED: InterruptionCause
INTERRUPTION_CAUSE_WORKER_ENDED: InterruptionCause
INTERRUPTION_CAUSE_OUT_OF_MEMORY: InterruptionCause
INTERRUPTION_CAUSE_DEADLINE: InterruptionCause
INTERRUPTION_CAUSE_SERVER_ENDED: InterruptionCause
VERDICT_UNSPECIFIED: Verdict
VERDICT_AGREE: Verdict
VERDICT_UNSURE: Verdict
VERDICT_CONFLICT: Verdict
VERDICT_UNSUPPORTED: Verdict
PROMPT_ORIGIN_UNSPECIFIED: PromptOrigin
PROMPT_ORIGIN_PICTURE: PromptOrigin
PROMPT_ORIGIN_SOUND: PromptOrigin
TAKE_FAULT_UNSPECIFIED: TakeFault
TAKE_FAULT_SILENT: TakeFault
TAKE_FAULT_CLIPPED: TakeFault
TAKE_FAULT_STUCK: TakeFault
TAKE_FAULT_WRONG: TakeFault
NOTE_KIND_UNSPECIFIED: NoteKind
NOTE_KIND_LITTLE_MOTION: NoteKind
NOTE_KIND_SILENT_ENERGY: NoteKind
NOTE_KIND_UNKNOWN_PROMPT: NoteKind
NOTE_KIND_AUDIO_TRACK: NoteKind
NOTE_KIND_RETIMED_SOUND: NoteKind
NOTE_KIND_UNUSED_SETTING: NoteKind
NOTE_KIND_REFERENCE: NoteKind
NOTE_KIND_RECORDINGS_REPEAT: NoteKind

class Rational(_message.Message):
    __slots__ = ("numerator", "denominator")
    NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    numerator: int
    denominator: int
    def __init__(self, numerator: _Optional[int] = ..., denominator: _Optional[int] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("what", "remedy", "kind")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    what: str
    remedy: str
    kind: ProblemKind
    def __init__(self, what: _Optional[str] = ..., remedy: _Optional[str] = ..., kind: _Optional[_Union[ProblemKind, str]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ("contract_version", "contract_minor_version")
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_MINOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    contract_version: int
    contract_minor_version: int
    def __init__(self, contract_version: _Optional[int] = ..., contract_minor_version: _Optional[int] = ...) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "contract_version", "device", "default_pack", "jobs_ahead", "worker_ready", "allowed_roots", "upload_limit_bytes", "contract_minor_version", "worker_problem", "reads_project_folders", "web_port", "loaded_packs", "coming_packs", "load_problem", "makes_audible_video")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PACK_FIELD_NUMBER: _ClassVar[int]
    JOBS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    WORKER_READY_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_ROOTS_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_MINOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    READS_PROJECT_FOLDERS_FIELD_NUMBER: _ClassVar[int]
    WEB_PORT_FIELD_NUMBER: _ClassVar[int]
    LOADED_PACKS_FIELD_NUMBER: _ClassVar[int]
    COMING_PACKS_FIELD_NUMBER: _ClassVar[int]
    LOAD_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    MAKES_AUDIBLE_VIDEO_FIELD_NUMBER: _ClassVar[int]
    version: str
    contract_version: int
    device: str
    default_pack: str
    jobs_ahead: int
    worker_ready: bool
    allowed_roots: _containers.RepeatedScalarFieldContainer[str]
    upload_limit_bytes: int
    contract_minor_version: int
    worker_problem: str
    reads_project_folders: bool
    web_port: int
    loaded_packs: _containers.RepeatedScalarFieldContainer[str]
    coming_packs: _containers.RepeatedScalarFieldContainer[str]
    load_problem: Problem
    makes_audible_video: bool
    def __init__(self, version: _Optional[str] = ..., contract_version: _Optional[int] = ..., device: _Optional[str] = ..., default_pack: _Optional[str] = ..., jobs_ahead: _Optional[int] = ..., worker_ready: bool = ..., allowed_roots: _Optional[_Iterable[str]] = ..., upload_limit_bytes: _Optional[int] = ..., contract_minor_version: _Optional[int] = ..., worker_problem: _Optional[str] = ..., reads_project_folders: bool = ..., web_port: _Optional[int] = ..., loaded_packs: _Optional[_Iterable[str]] = ..., coming_packs: _Optional[_Iterable[str]] = ..., load_problem: _Optional[_Union[Problem, _Mapping]] = ..., makes_audible_video: bool = ...) -> None: ...

class ListPacksRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPacksResponse(_message.Message):
    __slots__ = ("packs", "next_page_token")
    PACKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    packs: _containers.RepeatedCompositeFieldContainer[Pack]
    next_page_token: str
    def __init__(self, packs: _Optional[_Iterable[_Union[Pack, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Pack(_message.Message):
    __slots__ = ("name", "version", "licence", "permitted_use", "summary", "sample_rate_hz", "controls", "checks_conflict", "scores_text", "problem", "content_sha256", "is_library", "reads_words")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    PERMITTED_USE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_CONFLICT_FIELD_NUMBER: _ClassVar[int]
    SCORES_TEXT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CONTENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    IS_LIBRARY_FIELD_NUMBER: _ClassVar[int]
    READS_WORDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    licence: str
    permitted_use: str
    summary: str
    sample_rate_hz: int
    controls: _containers.RepeatedScalarFieldContainer[str]
    checks_conflict: bool
    scores_text: bool
    problem: Problem
    content_sha256: str
    is_library: bool
    reads_words: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., licence: _Optional[str] = ..., permitted_use: _Optional[str] = ..., summary: _Optional[str] = ..., sample_rate_hz: _Optional[int] = ..., controls: _Optional[_Iterable[str]] = ..., checks_conflict: bool = ..., scores_text: bool = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., content_sha256: _Optional[str] = ..., is_library: bool = ..., reads_words: bool = ...) -> None: ...

class LoadPackRequest(_message.Message):
    __slots__ = ("pack",)
    PACK_FIELD_NUMBER: _ClassVar[int]
    pack: str
    def __init__(self, pack: _Optional[str] = ...) -> None: ...

class LoadPackResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("idempotency_key", "energy", "conflict", "sound", "timeline", "description", "audible_video", "priority", "project_folders")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AUDIBLE_VIDEO_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FOLDERS_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    energy: EnergyWork
    conflict: ConflictWork
    sound: SoundWork
    timeline: TimelineWork
    description: DescriptionWork
    audible_video: AudibleVideoWork
    priority: Priority
    project_folders: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, idempotency_key: _Optional[str] = ..., energy: _Optional[_Union[EnergyWork, _Mapping]] = ..., conflict: _Optional[_Union[ConflictWork, _Mapping]] = ..., sound: _Optional[_Union[SoundWork, _Mapping]] = ..., timeline: _Optional[_Union[TimelineWork, _Mapping]] = ..., description: _Optional[_Union[DescriptionWork, _Mapping]] = ..., audible_video: _Optional[_Union[AudibleVideoWork, _Mapping]] = ..., priority: _Optional[_Union[Priority, str]] = ..., project_folders: _Optional[_Iterable[str]] = ...) -> None: ...

class SubmitJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class EnergyInput(_message.Message):
    __slots__ = ("curve", "points", "flat_nats", "edits")
    CURVE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    FLAT_NATS_FIELD_NUMBER: _ClassVar[int]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    curve: EnergyCurve
    points: EnergyPoints
    flat_nats: float
    edits: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, curve: _Optional[_Union[EnergyCurve, _Mapping]] = ..., points: _Optional[_Union[EnergyPoints, _Mapping]] = ..., flat_nats: _Optional[float] = ..., edits: _Optional[_Iterable[str]] = ...) -> None: ...

class EnergyCurve(_message.Message):
    __slots__ = ("rate_hz", "values", "source")
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    rate_hz: Rational
    values: _containers.RepeatedScalarFieldContainer[float]
    source: EnergySource
    def __init__(self, rate_hz: _Optional[_Union[Rational, _Mapping]] = ..., values: _Optional[_Iterable[float]] = ..., source: _Optional[_Union[EnergySource, str]] = ...) -> None: ...

class EnergyPoints(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[EnergyPoint]
    def __init__(self, points: _Optional[_Iterable[_Union[EnergyPoint, _Mapping]]] = ...) -> None: ...

class EnergyPoint(_message.Message):
    __slots__ = ("time_s", "level_nats")
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    LEVEL_NATS_FIELD_NUMBER: _ClassVar[int]
    time_s: Rational
    level_nats: float
    def __init__(self, time_s: _Optional[_Union[Rational, _Mapping]] = ..., level_nats: _Optional[float] = ...) -> None: ...

class EnergyEvent(_message.Message):
    __slots__ = ("number", "time_s", "duration_s", "peak_nats", "strength_nats")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    PEAK_NATS_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_NATS_FIELD_NUMBER: _ClassVar[int]
    number: int
    time_s: Rational
    duration_s: Rational
    peak_nats: float
    strength_nats: float
    def __init__(self, number: _Optional[int] = ..., time_s: _Optional[_Union[Rational, _Mapping]] = ..., duration_s: _Optional[_Union[Rational, _Mapping]] = ..., peak_nats: _Optional[float] = ..., strength_nats: _Optional[float] = ...) -> None: ...

class TextureCurve(_message.Message):
    __slots__ = ("rate_hz", "values", "source")
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    rate_hz: Rational
    values: _containers.RepeatedScalarFieldContainer[float]
    source: EnergySource
    def __init__(self, rate_hz: _Optional[_Union[Rational, _Mapping]] = ..., values: _Optional[_Iterable[float]] = ..., source: _Optional[_Union[EnergySource, str]] = ...) -> None: ...

class EnergyWork(_message.Message):
    __slots__ = ("clip_otio_json", "uploaded_media", "pack", "source", "energy", "find_cuts", "measure_texture", "prompt", "audio_track", "level")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CLIP_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    FIND_CUTS_FIELD_NUMBER: _ClassVar[int]
    MEASURE_TEXTURE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_TRACK_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    clip_otio_json: str
    uploaded_media: _containers.ScalarMap[str, str]
    pack: str
    source: EnergySource
    energy: EnergyInput
    find_cuts: bool
    measure_texture: bool
    prompt: str
    audio_track: int
    level: Level
    def __init__(self, clip_otio_json: _Optional[str] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., pack: _Optional[str] = ..., source: _Optional[_Union[EnergySource, str]] = ..., energy: _Optional[_Union[EnergyInput, _Mapping]] = ..., find_cuts: bool = ..., measure_texture: bool = ..., prompt: _Optional[str] = ..., audio_track: _Optional[int] = ..., level: _Optional[_Union[Level, str]] = ...) -> None: ...

class ConflictWork(_message.Message):
    __slots__ = ("clip_otio_json", "uploaded_media", "pack", "prompt", "measure_avh")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CLIP_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MEASURE_AVH_FIELD_NUMBER: _ClassVar[int]
    clip_otio_json: str
    uploaded_media: _containers.ScalarMap[str, str]
    pack: str
    prompt: str
    measure_avh: bool
    def __init__(self, clip_otio_json: _Optional[str] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., pack: _Optional[str] = ..., prompt: _Optional[str] = ..., measure_avh: bool = ...) -> None: ...

class DescriptionWork(_message.Message):
    __slots__ = ("clip_otio_json", "uploaded_media", "pack")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CLIP_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    clip_otio_json: str
    uploaded_media: _containers.ScalarMap[str, str]
    pack: str
    def __init__(self, clip_otio_json: _Optional[str] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., pack: _Optional[str] = ...) -> None: ...

class AudibleVideoWork(_message.Message):
    __slots__ = ("prompt", "seed", "num_inference_steps", "guidance_scale", "sound_lag", "height_pixels", "frame_rate")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NUM_INFERENCE_STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SOUND_LAG_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PIXELS_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    seed: int
    num_inference_steps: int
    guidance_scale: float
    sound_lag: float
    height_pixels: int
    frame_rate: Rational
    def __init__(self, prompt: _Optional[str] = ..., seed: _Optional[int] = ..., num_inference_steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., sound_lag: _Optional[float] = ..., height_pixels: _Optional[int] = ..., frame_rate: _Optional[_Union[Rational, _Mapping]] = ...) -> None: ...

class SoundWork(_message.Message):
    __slots__ = ("clip_otio_json", "uploaded_media", "settings", "energy", "layer_energies", "texture", "cuts_s", "regenerate")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LayerEnergiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: EnergyInput
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[EnergyInput, _Mapping]] = ...) -> None: ...
    CLIP_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    LAYER_ENERGIES_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_FIELD_NUMBER: _ClassVar[int]
    CUTS_S_FIELD_NUMBER: _ClassVar[int]
    REGENERATE_FIELD_NUMBER: _ClassVar[int]
    clip_otio_json: str
    uploaded_media: _containers.ScalarMap[str, str]
    settings: SoundSettings
    energy: EnergyInput
    layer_energies: _containers.MessageMap[str, EnergyInput]
    texture: TextureCurve
    cuts_s: _containers.RepeatedCompositeFieldContainer[Rational]
    regenerate: Regeneration
    def __init__(self, clip_otio_json: _Optional[str] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., settings: _Optional[_Union[SoundSettings, _Mapping]] = ..., energy: _Optional[_Union[EnergyInput, _Mapping]] = ..., layer_energies: _Optional[_Mapping[str, EnergyInput]] = ..., texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., cuts_s: _Optional[_Iterable[_Union[Rational, _Mapping]]] = ..., regenerate: _Optional[_Union[Regeneration, _Mapping]] = ...) -> None: ...

class TimelineWork(_message.Message):
    __slots__ = ("timeline_otio_json", "timeline_sha256", "uploaded_media", "defaults")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIMELINE_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_SHA256_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    timeline_otio_json: str
    timeline_sha256: str
    uploaded_media: _containers.ScalarMap[str, str]
    defaults: SoundSettings
    def __init__(self, timeline_otio_json: _Optional[str] = ..., timeline_sha256: _Optional[str] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., defaults: _Optional[_Union[SoundSettings, _Mapping]] = ...) -> None: ...

class Performance(_message.Message):
    __slots__ = ("place", "tail", "pitch_variation_cents", "timing_variation_s", "room")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    PITCH_VARIATION_CENTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_VARIATION_S_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    place: int
    tail: Tail
    pitch_variation_cents: float
    timing_variation_s: float
    room: Room
    def __init__(self, place: _Optional[int] = ..., tail: _Optional[_Union[Tail, str]] = ..., pitch_variation_cents: _Optional[float] = ..., timing_variation_s: _Optional[float] = ..., room: _Optional[_Union[Room, str]] = ...) -> None: ...

class SoundSettings(_message.Message):
    __slots__ = ("prompt", "negative_prompt", "pack", "seed", "takes", "num_inference_steps", "sampler", "guidance_scale", "control", "control_strength", "control_start", "control_end", "conflict_policy", "loop", "new_sound_at_cuts", "layers", "gain_db", "mix", "sample_rate_hz", "level", "like", "performance", "rank_by")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TAKES_FIELD_NUMBER: _ClassVar[int]
    NUM_INFERENCE_STEPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    CONTROL_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    CONTROL_START_FIELD_NUMBER: _ClassVar[int]
    CONTROL_END_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_POLICY_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    NEW_SOUND_AT_CUTS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    GAIN_DB_FIELD_NUMBER: _ClassVar[int]
    MIX_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LIKE_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    RANK_BY_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    negative_prompt: str
    pack: str
    seed: int
    takes: int
    num_inference_steps: int
    sampler: Sampler
    guidance_scale: float
    control: Control
    control_strength: float
    control_start: float
    control_end: float
    conflict_policy: ConflictPolicy
    loop: bool
    new_sound_at_cuts: bool
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    gain_db: float
    mix: bool
    sample_rate_hz: int
    level: Level
    like: str
    performance: Performance
    rank_by: Rank
    def __init__(self, prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., pack: _Optional[str] = ..., seed: _Optional[int] = ..., takes: _Optional[int] = ..., num_inference_steps: _Optional[int] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., guidance_scale: _Optional[float] = ..., control: _Optional[_Union[Control, str]] = ..., control_strength: _Optional[float] = ..., control_start: _Optional[float] = ..., control_end: _Optional[float] = ..., conflict_policy: _Optional[_Union[ConflictPolicy, str]] = ..., loop: bool = ..., new_sound_at_cuts: bool = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., gain_db: _Optional[float] = ..., mix: bool = ..., sample_rate_hz: _Optional[int] = ..., level: _Optional[_Union[Level, str]] = ..., like: _Optional[str] = ..., performance: _Optional[_Union[Performance, _Mapping]] = ..., rank_by: _Optional[_Union[Rank, str]] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("name", "prompt", "gain_db", "energy", "like", "pack", "performance")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GAIN_DB_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    LIKE_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    prompt: str
    gain_db: float
    energy: LayerEnergy
    like: str
    pack: str
    performance: Performance
    def __init__(self, name: _Optional[str] = ..., prompt: _Optional[str] = ..., gain_db: _Optional[float] = ..., energy: _Optional[_Union[LayerEnergy, str]] = ..., like: _Optional[str] = ..., pack: _Optional[str] = ..., performance: _Optional[_Union[Performance, _Mapping]] = ...) -> None: ...

class Regeneration(_message.Message):
    __slots__ = ("sound_url", "start_s", "end_s", "strength")
    SOUND_URL_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    sound_url: str
    start_s: Rational
    end_s: Rational
    strength: float
    def __init__(self, sound_url: _Optional[str] = ..., start_s: _Optional[_Union[Rational, _Mapping]] = ..., end_s: _Optional[_Union[Rational, _Mapping]] = ..., strength: _Optional[float] = ...) -> None: ...

class Interruption(_message.Message):
    __slots__ = ("cause", "count")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    cause: InterruptionCause
    count: int
    def __init__(self, cause: _Optional[_Union[InterruptionCause, str]] = ..., count: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "name", "revision", "state", "stage", "step", "total_steps", "fraction", "time_left", "attempt", "created_at", "finished_at", "problem", "energy", "conflict", "sound", "timeline", "description", "audible_video", "priority", "position", "waiting_reason", "parent_id", "child_count", "finished_child_count", "pinned", "interruptions", "started_at", "files_deleted")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AUDIBLE_VIDEO_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHILD_COUNT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_CHILD_COUNT_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTIONS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FILES_DELETED_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    revision: int
    state: JobState
    stage: Stage
    step: int
    total_steps: int
    fraction: float
    time_left: _duration_pb2.Duration
    attempt: int
    created_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    problem: Problem
    energy: EnergyResult
    conflict: ConflictResult
    sound: SoundResult
    timeline: TimelineResult
    description: DescriptionResult
    audible_video: AudibleVideoResult
    priority: Priority
    position: int
    waiting_reason: str
    parent_id: str
    child_count: int
    finished_child_count: int
    pinned: bool
    interruptions: _containers.RepeatedCompositeFieldContainer[Interruption]
    started_at: _timestamp_pb2.Timestamp
    files_deleted: bool
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[JobState, str]] = ..., stage: _Optional[_Union[Stage, str]] = ..., step: _Optional[int] = ..., total_steps: _Optional[int] = ..., fraction: _Optional[float] = ..., time_left: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., attempt: _Optional[int] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., energy: _Optional[_Union[EnergyResult, _Mapping]] = ..., conflict: _Optional[_Union[ConflictResult, _Mapping]] = ..., sound: _Optional[_Union[SoundResult, _Mapping]] = ..., timeline: _Optional[_Union[TimelineResult, _Mapping]] = ..., description: _Optional[_Union[DescriptionResult, _Mapping]] = ..., audible_video: _Optional[_Union[AudibleVideoResult, _Mapping]] = ..., priority: _Optional[_Union[Priority, str]] = ..., position: _Optional[int] = ..., waiting_reason: _Optional[str] = ..., parent_id: _Optional[str] = ..., child_count: _Optional[int] = ..., finished_child_count: _Optional[int] = ..., pinned: bool = ..., interruptions: _Optional[_Iterable[_Union[Interruption, _Mapping]]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., files_deleted: bool = ...) -> None: ...

class PauseJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class PauseJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ResumeJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ResumeJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class RetryJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RetryJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class PinJobRequest(_message.Message):
    __slots__ = ("id", "pinned")
    ID_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    id: str
    pinned: bool
    def __init__(self, id: _Optional[str] = ..., pinned: bool = ...) -> None: ...

class PinJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class DeleteJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteJobResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "parent_id", "states")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    parent_id: str
    states: _containers.RepeatedScalarFieldContainer[JobState]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., parent_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[JobState, str]]] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ClipInfo(_message.Message):
    __slots__ = ("name", "path", "start_s", "duration_s", "frame_rate", "speed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    start_s: Rational
    duration_s: Rational
    frame_rate: Rational
    speed: Rational
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., start_s: _Optional[_Union[Rational, _Mapping]] = ..., duration_s: _Optional[_Union[Rational, _Mapping]] = ..., frame_rate: _Optional[_Union[Rational, _Mapping]] = ..., speed: _Optional[_Union[Rational, _Mapping]] = ...) -> None: ...

class EnergyResult(_message.Message):
    __slots__ = ("clip", "pack", "energy", "unedited_energy", "events", "cuts_s", "texture", "timings", "notes")
    class TimingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _duration_pb2.Duration
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    CLIP_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    UNEDITED_ENERGY_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CUTS_S_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    clip: ClipInfo
    pack: Pack
    energy: EnergyCurve
    unedited_energy: EnergyCurve
    events: _containers.RepeatedCompositeFieldContainer[EnergyEvent]
    cuts_s: _containers.RepeatedCompositeFieldContainer[Rational]
    texture: TextureCurve
    timings: _containers.MessageMap[str, _duration_pb2.Duration]
    notes: _containers.RepeatedCompositeFieldContainer[Note]
    def __init__(self, clip: _Optional[_Union[ClipInfo, _Mapping]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., unedited_energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., events: _Optional[_Iterable[_Union[EnergyEvent, _Mapping]]] = ..., cuts_s: _Optional[_Iterable[_Union[Rational, _Mapping]]] = ..., texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., timings: _Optional[_Mapping[str, _duration_pb2.Duration]] = ..., notes: _Optional[_Iterable[_Union[Note, _Mapping]]] = ...) -> None: ...

class ConflictResult(_message.Message):
    __slots__ = ("clip", "pack", "verdict", "score", "explanation", "ranges", "suggestions", "encoder", "avh_score", "avh_encoder")
    CLIP_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    AVH_SCORE_FIELD_NUMBER: _ClassVar[int]
    AVH_ENCODER_FIELD_NUMBER: _ClassVar[int]
    clip: ClipInfo
    pack: Pack
    verdict: Verdict
    score: float
    explanation: str
    ranges: _containers.RepeatedCompositeFieldContainer[ConflictRange]
    suggestions: _containers.RepeatedCompositeFieldContainer[PromptSuggestion]
    encoder: str
    avh_score: float
    avh_encoder: str
    def __init__(self, clip: _Optional[_Union[ClipInfo, _Mapping]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., score: _Optional[float] = ..., explanation: _Optional[str] = ..., ranges: _Optional[_Iterable[_Union[ConflictRange, _Mapping]]] = ..., suggestions: _Optional[_Iterable[_Union[PromptSuggestion, _Mapping]]] = ..., encoder: _Optional[str] = ..., avh_score: _Optional[float] = ..., avh_encoder: _Optional[str] = ...) -> None: ...

class ConflictRange(_message.Message):
    __slots__ = ("start_s", "end_s", "score", "best_label")
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BEST_LABEL_FIELD_NUMBER: _ClassVar[int]
    start_s: Rational
    end_s: Rational
    score: float
    best_label: str
    def __init__(self, start_s: _Optional[_Union[Rational, _Mapping]] = ..., end_s: _Optional[_Union[Rational, _Mapping]] = ..., score: _Optional[float] = ..., best_label: _Optional[str] = ...) -> None: ...

class PromptSuggestion(_message.Message):
    __slots__ = ("prompt", "score", "source")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    score: float
    source: str
    def __init__(self, prompt: _Optional[str] = ..., score: _Optional[float] = ..., source: _Optional[str] = ...) -> None: ...

class DescriptionPrompt(_message.Message):
    __slots__ = ("prompt", "score", "origin")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    score: float
    origin: PromptOrigin
    def __init__(self, prompt: _Optional[str] = ..., score: _Optional[float] = ..., origin: _Optional[_Union[PromptOrigin, str]] = ...) -> None: ...

class DescriptionResult(_message.Message):
    __slots__ = ("clip", "pack", "picture", "sound", "description", "suggestions", "notes", "picture_model", "sound_model", "language_model")
    CLIP_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    PICTURE_MODEL_FIELD_NUMBER: _ClassVar[int]
    SOUND_MODEL_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_MODEL_FIELD_NUMBER: _ClassVar[int]
    clip: ClipInfo
    pack: Pack
    picture: str
    sound: str
    description: str
    suggestions: _containers.RepeatedCompositeFieldContainer[DescriptionPrompt]
    notes: _containers.RepeatedScalarFieldContainer[str]
    picture_model: str
    sound_model: str
    language_model: str
    def __init__(self, clip: _Optional[_Union[ClipInfo, _Mapping]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., picture: _Optional[str] = ..., sound: _Optional[str] = ..., description: _Optional[str] = ..., suggestions: _Optional[_Iterable[_Union[DescriptionPrompt, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ..., picture_model: _Optional[str] = ..., sound_model: _Optional[str] = ..., language_model: _Optional[str] = ...) -> None: ...

class AudibleVideoResult(_message.Message):
    __slots__ = ("file", "prompt", "seed", "frames", "frame_rate", "width_pixels", "height_pixels", "duration_s", "kinds")
    FILE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PIXELS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PIXELS_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    file: Artifact
    prompt: str
    seed: int
    frames: int
    frame_rate: Rational
    width_pixels: int
    height_pixels: int
    duration_s: Rational
    kinds: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, file: _Optional[_Union[Artifact, _Mapping]] = ..., prompt: _Optional[str] = ..., seed: _Optional[int] = ..., frames: _Optional[int] = ..., frame_rate: _Optional[_Union[Rational, _Mapping]] = ..., width_pixels: _Optional[int] = ..., height_pixels: _Optional[int] = ..., duration_s: _Optional[_Union[Rational, _Mapping]] = ..., kinds: _Optional[_Iterable[str]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "size_bytes", "sha256", "path")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    sha256: str
    path: str
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class Stem(_message.Message):
    __slots__ = ("role", "artifact", "sample_rate_hz", "channels", "samples")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    role: str
    artifact: Artifact
    sample_rate_hz: int
    channels: int
    samples: int
    def __init__(self, role: _Optional[str] = ..., artifact: _Optional[_Union[Artifact, _Mapping]] = ..., sample_rate_hz: _Optional[int] = ..., channels: _Optional[int] = ..., samples: _Optional[int] = ...) -> None: ...

class UsedRecording(_message.Message):
    __slots__ = ("name", "words", "licence", "credit", "content_sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    words: str
    licence: str
    credit: str
    content_sha256: str
    def __init__(self, name: _Optional[str] = ..., words: _Optional[str] = ..., licence: _Optional[str] = ..., credit: _Optional[str] = ..., content_sha256: _Optional[str] = ...) -> None: ...

class Take(_message.Message):
    __slots__ = ("seed", "stems", "output_energy", "energy_mae_nats", "energy_correlation", "output_texture", "texture_mae_nats", "text_score", "score", "faults", "replaced_seed", "layers", "level_gain_db", "reference_distance_db", "recordings", "avh_score")
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEMS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ENERGY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MAE_NATS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TEXTURE_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_MAE_NATS_FIELD_NUMBER: _ClassVar[int]
    TEXT_SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    REPLACED_SEED_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_GAIN_DB_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_DISTANCE_DB_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    AVH_SCORE_FIELD_NUMBER: _ClassVar[int]
    seed: int
    stems: _containers.RepeatedCompositeFieldContainer[Stem]
    output_energy: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float
    output_texture: TextureCurve
    texture_mae_nats: float
    text_score: float
    score: float
    faults: _containers.RepeatedScalarFieldContainer[TakeFault]
    replaced_seed: int
    layers: _containers.RepeatedCompositeFieldContainer[LayerResult]
    level_gain_db: float
    reference_distance_db: float
    recordings: _containers.RepeatedCompositeFieldContainer[UsedRecording]
    avh_score: float
    def __init__(self, seed: _Optional[int] = ..., stems: _Optional[_Iterable[_Union[Stem, _Mapping]]] = ..., output_energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., energy_mae_nats: _Optional[float] = ..., energy_correlation: _Optional[float] = ..., output_texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., texture_mae_nats: _Optional[float] = ..., text_score: _Optional[float] = ..., score: _Optional[float] = ..., faults: _Optional[_Iterable[_Union[TakeFault, str]]] = ..., replaced_seed: _Optional[int] = ..., layers: _Optional[_Iterable[_Union[LayerResult, _Mapping]]] = ..., level_gain_db: _Optional[float] = ..., reference_distance_db: _Optional[float] = ..., recordings: _Optional[_Iterable[_Union[UsedRecording, _Mapping]]] = ..., avh_score: _Optional[float] = ...) -> None: ...

class Note(_message.Message):
    __slots__ = ("kind", "text")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    kind: NoteKind
    text: str
    def __init__(self, kind: _Optional[_Union[NoteKind, str]] = ..., text: _Optional[str] = ...) -> None: ...

class Familiarity(_message.Message):
    __slots__ = ("known", "score", "nearest_prompts")
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    NEAREST_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    known: bool
    score: float
    nearest_prompts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, known: bool = ..., score: _Optional[float] = ..., nearest_prompts: _Optional[_Iterable[str]] = ...) -> None: ...

class LayerResult(_message.Message):
    __slots__ = ("name", "seed", "requested_energy", "output_energy", "energy_mae_nats", "energy_correlation", "text_score", "faults", "recordings", "pack")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_ENERGY_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ENERGY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MAE_NATS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    TEXT_SCORE_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    name: str
    seed: int
    requested_energy: EnergyCurve
    output_energy: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float
    text_score: float
    faults: _containers.RepeatedScalarFieldContainer[TakeFault]
    recordings: _containers.RepeatedCompositeFieldContainer[UsedRecording]
    pack: Pack
    def __init__(self, name: _Optional[str] = ..., seed: _Optional[int] = ..., requested_energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., output_energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., energy_mae_nats: _Optional[float] = ..., energy_correlation: _Optional[float] = ..., text_score: _Optional[float] = ..., faults: _Optional[_Iterable[_Union[TakeFault, str]]] = ..., recordings: _Optional[_Iterable[_Union[UsedRecording, _Mapping]]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ...) -> None: ...

class SoundResult(_message.Message):
    __slots__ = ("clip", "pack", "settings", "takes", "requested_energy", "requested_texture", "cuts_s", "conflict", "prompt_weight", "timings", "notes", "familiarity")
    class TimingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _duration_pb2.Duration
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    CLIP_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    TAKES_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_ENERGY_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_TEXTURE_FIELD_NUMBER: _ClassVar[int]
    CUTS_S_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    FAMILIARITY_FIELD_NUMBER: _ClassVar[int]
    clip: ClipInfo
    pack: Pack
    settings: SoundSettings
    takes: _containers.RepeatedCompositeFieldContainer[Take]
    requested_energy: EnergyCurve
    requested_texture: TextureCurve
    cuts_s: _containers.RepeatedCompositeFieldContainer[Rational]
    conflict: ConflictResult
    prompt_weight: float
    timings: _containers.MessageMap[str, _duration_pb2.Duration]
    notes: _containers.RepeatedCompositeFieldContainer[Note]
    familiarity: Familiarity
    def __init__(self, clip: _Optional[_Union[ClipInfo, _Mapping]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., settings: _Optional[_Union[SoundSettings, _Mapping]] = ..., takes: _Optional[_Iterable[_Union[Take, _Mapping]]] = ..., requested_energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., requested_texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., cuts_s: _Optional[_Iterable[_Union[Rational, _Mapping]]] = ..., conflict: _Optional[_Union[ConflictResult, _Mapping]] = ..., prompt_weight: _Optional[float] = ..., timings: _Optional[_Mapping[str, _duration_pb2.Duration]] = ..., notes: _Optional[_Iterable[_Union[Note, _Mapping]]] = ..., familiarity: _Optional[_Union[Familiarity, _Mapping]] = ...) -> None: ...

class TimelineResult(_message.Message):
    __slots__ = ("timeline_otio_json", "clips", "failed_clip_count", "file")
    TIMELINE_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    FAILED_CLIP_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    timeline_otio_json: str
    clips: _containers.RepeatedCompositeFieldContainer[TimelineClip]
    failed_clip_count: int
    file: Artifact
    def __init__(self, timeline_otio_json: _Optional[str] = ..., clips: _Optional[_Iterable[_Union[TimelineClip, _Mapping]]] = ..., failed_clip_count: _Optional[int] = ..., file: _Optional[_Union[Artifact, _Mapping]] = ...) -> None: ...

class TimelineClip(_message.Message):
    __slots__ = ("name", "job_id", "sound", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    job_id: str
    sound: SoundResult
    problem: Problem
    def __init__(self, name: _Optional[str] = ..., job_id: _Optional[str] = ..., sound: _Optional[_Union[SoundResult, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class FindMediaRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    def __init__(self, sha256: _Optional[str] = ...) -> None: ...

class FindMediaResponse(_message.Message):
    __slots__ = ("present", "received_bytes")
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    present: bool
    received_bytes: int
    def __init__(self, present: bool = ..., received_bytes: _Optional[int] = ...) -> None: ...

class UploadMediaRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: UploadHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ("sha256", "size_bytes", "extension", "offset_bytes")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    extension: str
    offset_bytes: int
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., extension: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class UploadMediaResponse(_message.Message):
    __slots__ = ("sha256", "size_bytes")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class FetchArtifactRequest(_message.Message):
    __slots__ = ("job_id", "name", "offset_bytes")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    name: str
    offset_bytes: int
    def __init__(self, job_id: _Optional[str] = ..., name: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class FetchArtifactResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
