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

class EnergySource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENERGY_SOURCE_UNSPECIFIED: _ClassVar[EnergySource]
    ENERGY_SOURCE_PICTURE: _ClassVar[EnergySource]
    ENERGY_SOURCE_AUDIO: _ClassVar[EnergySource]
    ENERGY_SOURCE_USER: _ClassVar[EnergySource]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLING: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_DECODE: _ClassVar[Stage]
    STAGE_ENERGY: _ClassVar[Stage]
    STAGE_CONFLICT: _ClassVar[Stage]
    STAGE_SAMPLE: _ClassVar[Stage]
    STAGE_VOCODE: _ClassVar[Stage]
    STAGE_DELIVER: _ClassVar[Stage]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_AGREE: _ClassVar[Verdict]
    VERDICT_UNSURE: _ClassVar[Verdict]
    VERDICT_CONFLICT: _ClassVar[Verdict]
    VERDICT_UNSUPPORTED: _ClassVar[Verdict]
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
ENERGY_SOURCE_UNSPECIFIED: EnergySource
ENERGY_SOURCE_PICTURE: EnergySource
ENERGY_SOURCE_AUDIO: EnergySource
ENERGY_SOURCE_USER: EnergySource
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLING: JobState
JOB_STATE_CANCELLED: JobState
STAGE_UNSPECIFIED: Stage
STAGE_DECODE: Stage
STAGE_ENERGY: Stage
STAGE_CONFLICT: Stage
STAGE_SAMPLE: Stage
STAGE_VOCODE: Stage
STAGE_DELIVER: Stage
VERDICT_UNSPECIFIED: Verdict
VERDICT_AGREE: Verdict
VERDICT_UNSURE: Verdict
VERDICT_CONFLICT: Verdict
VERDICT_UNSUPPORTED: Verdict

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
    __slots__ = ("contract_version",)
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    contract_version: int
    def __init__(self, contract_version: _Optional[int] = ...) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ("version", "contract_version", "device", "default_pack", "jobs_ahead", "worker_ready", "allowed_roots", "upload_limit_bytes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PACK_FIELD_NUMBER: _ClassVar[int]
    JOBS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    WORKER_READY_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_ROOTS_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    version: str
    contract_version: int
    device: str
    default_pack: str
    jobs_ahead: int
    worker_ready: bool
    allowed_roots: _containers.RepeatedScalarFieldContainer[str]
    upload_limit_bytes: int
    def __init__(self, version: _Optional[str] = ..., contract_version: _Optional[int] = ..., device: _Optional[str] = ..., default_pack: _Optional[str] = ..., jobs_ahead: _Optional[int] = ..., worker_ready: bool = ..., allowed_roots: _Optional[_Iterable[str]] = ..., upload_limit_bytes: _Optional[int] = ...) -> None: ...

class ListPacksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPacksResponse(_message.Message):
    __slots__ = ("packs",)
    PACKS_FIELD_NUMBER: _ClassVar[int]
    packs: _containers.RepeatedCompositeFieldContainer[Pack]
    def __init__(self, packs: _Optional[_Iterable[_Union[Pack, _Mapping]]] = ...) -> None: ...

class Pack(_message.Message):
    __slots__ = ("name", "version", "licence", "permits", "sample_rate_hz", "controls", "problem", "summary", "checks_conflict", "scores_words")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    PERMITS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    CHECKS_CONFLICT_FIELD_NUMBER: _ClassVar[int]
    SCORES_WORDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    licence: str
    permits: str
    sample_rate_hz: int
    controls: _containers.RepeatedScalarFieldContainer[str]
    problem: Problem
    summary: str
    checks_conflict: bool
    scores_words: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., licence: _Optional[str] = ..., permits: _Optional[str] = ..., sample_rate_hz: _Optional[int] = ..., controls: _Optional[_Iterable[str]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., summary: _Optional[str] = ..., checks_conflict: bool = ..., scores_words: bool = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("idempotency_key", "energy", "conflict", "sound", "timeline")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    energy: EnergyWork
    conflict: ConflictWork
    sound: SoundWork
    timeline: TimelineWork
    def __init__(self, idempotency_key: _Optional[str] = ..., energy: _Optional[_Union[EnergyWork, _Mapping]] = ..., conflict: _Optional[_Union[ConflictWork, _Mapping]] = ..., sound: _Optional[_Union[SoundWork, _Mapping]] = ..., timeline: _Optional[_Union[TimelineWork, _Mapping]] = ...) -> None: ...

class EnergyWork(_message.Message):
    __slots__ = ("clip_otio_json", "source", "uploaded_media", "pack", "find_cuts", "texture", "curve", "points", "flat_nats", "edits")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CLIP_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    FIND_CUTS_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    FLAT_NATS_FIELD_NUMBER: _ClassVar[int]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    clip_otio_json: str
    source: EnergySource
    uploaded_media: _containers.ScalarMap[str, str]
    pack: str
    find_cuts: bool
    texture: bool
    curve: EnergyCurve
    points: EnergyPoints
    flat_nats: float
    edits: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, clip_otio_json: _Optional[str] = ..., source: _Optional[_Union[EnergySource, str]] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., pack: _Optional[str] = ..., find_cuts: bool = ..., texture: bool = ..., curve: _Optional[_Union[EnergyCurve, _Mapping]] = ..., points: _Optional[_Union[EnergyPoints, _Mapping]] = ..., flat_nats: _Optional[float] = ..., edits: _Optional[_Iterable[str]] = ...) -> None: ...

class EnergyPoints(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[EnergyPoint]
    def __init__(self, points: _Optional[_Iterable[_Union[EnergyPoint, _Mapping]]] = ...) -> None: ...

class EnergyPoint(_message.Message):
    __slots__ = ("time_s", "nats")
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    NATS_FIELD_NUMBER: _ClassVar[int]
    time_s: Rational
    nats: float
    def __init__(self, time_s: _Optional[_Union[Rational, _Mapping]] = ..., nats: _Optional[float] = ...) -> None: ...

class EnergyEvent(_message.Message):
    __slots__ = ("number", "time_s", "length_s", "peak_nats", "strength_nats")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    LENGTH_S_FIELD_NUMBER: _ClassVar[int]
    PEAK_NATS_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_NATS_FIELD_NUMBER: _ClassVar[int]
    number: int
    time_s: Rational
    length_s: Rational
    peak_nats: float
    strength_nats: float
    def __init__(self, number: _Optional[int] = ..., time_s: _Optional[_Union[Rational, _Mapping]] = ..., length_s: _Optional[_Union[Rational, _Mapping]] = ..., peak_nats: _Optional[float] = ..., strength_nats: _Optional[float] = ...) -> None: ...

class ConflictWork(_message.Message):
    __slots__ = ("clip_otio_json", "prompt", "uploaded_media", "pack")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CLIP_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    clip_otio_json: str
    prompt: str
    uploaded_media: _containers.ScalarMap[str, str]
    pack: str
    def __init__(self, clip_otio_json: _Optional[str] = ..., prompt: _Optional[str] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., pack: _Optional[str] = ...) -> None: ...

class SoundWork(_message.Message):
    __slots__ = ("clip_otio_json", "settings", "energy", "energy_points", "energy_flat_nats", "uploaded_media", "revision", "cuts_s", "texture", "layer_energies", "energy_edits", "energy_of_layers")
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
        value: EnergyCurve
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[EnergyCurve, _Mapping]] = ...) -> None: ...
    class EnergyOfLayersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: LayerEnergy
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[LayerEnergy, _Mapping]] = ...) -> None: ...
    CLIP_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_POINTS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FLAT_NATS_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CUTS_S_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_FIELD_NUMBER: _ClassVar[int]
    LAYER_ENERGIES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_EDITS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_OF_LAYERS_FIELD_NUMBER: _ClassVar[int]
    clip_otio_json: str
    settings: SoundSettings
    energy: EnergyCurve
    energy_points: EnergyPoints
    energy_flat_nats: float
    uploaded_media: _containers.ScalarMap[str, str]
    revision: Revision
    cuts_s: _containers.RepeatedCompositeFieldContainer[Rational]
    texture: TextureCurve
    layer_energies: _containers.MessageMap[str, EnergyCurve]
    energy_edits: _containers.RepeatedScalarFieldContainer[str]
    energy_of_layers: _containers.MessageMap[str, LayerEnergy]
    def __init__(self, clip_otio_json: _Optional[str] = ..., settings: _Optional[_Union[SoundSettings, _Mapping]] = ..., energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., energy_points: _Optional[_Union[EnergyPoints, _Mapping]] = ..., energy_flat_nats: _Optional[float] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ..., cuts_s: _Optional[_Iterable[_Union[Rational, _Mapping]]] = ..., texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., layer_energies: _Optional[_Mapping[str, EnergyCurve]] = ..., energy_edits: _Optional[_Iterable[str]] = ..., energy_of_layers: _Optional[_Mapping[str, LayerEnergy]] = ...) -> None: ...

class LayerEnergy(_message.Message):
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

class TimelineWork(_message.Message):
    __slots__ = ("timeline_otio_json", "defaults", "uploaded_media")
    class UploadedMediaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIMELINE_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_MEDIA_FIELD_NUMBER: _ClassVar[int]
    timeline_otio_json: str
    defaults: SoundSettings
    uploaded_media: _containers.ScalarMap[str, str]
    def __init__(self, timeline_otio_json: _Optional[str] = ..., defaults: _Optional[_Union[SoundSettings, _Mapping]] = ..., uploaded_media: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SoundSettings(_message.Message):
    __slots__ = ("prompt", "pack", "seed", "takes", "num_steps", "guidance_scale", "control_strength", "sample_rate_hz", "negative_prompt", "control_from", "control_until", "control", "loop", "layers", "gain_db", "mix", "sampler", "new_sound_at_cuts", "conflict")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TAKES_FIELD_NUMBER: _ClassVar[int]
    NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FROM_FIELD_NUMBER: _ClassVar[int]
    CONTROL_UNTIL_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    GAIN_DB_FIELD_NUMBER: _ClassVar[int]
    MIX_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    NEW_SOUND_AT_CUTS_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    pack: str
    seed: int
    takes: int
    num_steps: int
    guidance_scale: float
    control_strength: float
    sample_rate_hz: int
    negative_prompt: str
    control_from: float
    control_until: float
    control: str
    loop: bool
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    gain_db: float
    mix: bool
    sampler: str
    new_sound_at_cuts: bool
    conflict: str
    def __init__(self, prompt: _Optional[str] = ..., pack: _Optional[str] = ..., seed: _Optional[int] = ..., takes: _Optional[int] = ..., num_steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., control_strength: _Optional[float] = ..., sample_rate_hz: _Optional[int] = ..., negative_prompt: _Optional[str] = ..., control_from: _Optional[float] = ..., control_until: _Optional[float] = ..., control: _Optional[str] = ..., loop: bool = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., gain_db: _Optional[float] = ..., mix: bool = ..., sampler: _Optional[str] = ..., new_sound_at_cuts: bool = ..., conflict: _Optional[str] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("name", "prompt", "gain_db", "energy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GAIN_DB_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    name: str
    prompt: str
    gain_db: float
    energy: str
    def __init__(self, name: _Optional[str] = ..., prompt: _Optional[str] = ..., gain_db: _Optional[float] = ..., energy: _Optional[str] = ...) -> None: ...

class LayerReport(_message.Message):
    __slots__ = ("name", "seed", "requested", "produced", "energy_mae_nats", "energy_correlation", "text_score", "faults")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    PRODUCED_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MAE_NATS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    TEXT_SCORE_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    seed: int
    requested: EnergyCurve
    produced: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float
    text_score: float
    faults: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., seed: _Optional[int] = ..., requested: _Optional[_Union[EnergyCurve, _Mapping]] = ..., produced: _Optional[_Union[EnergyCurve, _Mapping]] = ..., energy_mae_nats: _Optional[float] = ..., energy_correlation: _Optional[float] = ..., text_score: _Optional[float] = ..., faults: _Optional[_Iterable[str]] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("sound_url", "start_s", "end_s", "degree")
    SOUND_URL_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    DEGREE_FIELD_NUMBER: _ClassVar[int]
    sound_url: str
    start_s: Rational
    end_s: Rational
    degree: float
    def __init__(self, sound_url: _Optional[str] = ..., start_s: _Optional[_Union[Rational, _Mapping]] = ..., end_s: _Optional[_Union[Rational, _Mapping]] = ..., degree: _Optional[float] = ...) -> None: ...

class EnergyCurve(_message.Message):
    __slots__ = ("rate_hz", "values", "source")
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    rate_hz: Rational
    values: _containers.RepeatedScalarFieldContainer[float]
    source: EnergySource
    def __init__(self, rate_hz: _Optional[_Union[Rational, _Mapping]] = ..., values: _Optional[_Iterable[float]] = ..., source: _Optional[_Union[EnergySource, str]] = ...) -> None: ...

class TextureCurve(_message.Message):
    __slots__ = ("rate_hz", "values", "source")
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    rate_hz: Rational
    values: _containers.RepeatedScalarFieldContainer[float]
    source: EnergySource
    def __init__(self, rate_hz: _Optional[_Union[Rational, _Mapping]] = ..., values: _Optional[_Iterable[float]] = ..., source: _Optional[_Union[EnergySource, str]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "revision", "state", "stage", "step", "total_steps", "fraction", "time_left_s", "problem", "energy", "conflict", "sound", "timeline", "submitted_at_ms", "finished_at_ms", "name", "attempt")
    ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_S_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    id: str
    revision: int
    state: JobState
    stage: Stage
    step: int
    total_steps: int
    fraction: float
    time_left_s: float
    problem: Problem
    energy: EnergyResult
    conflict: ConflictResult
    sound: SoundResult
    timeline: TimelineResult
    submitted_at_ms: int
    finished_at_ms: int
    name: str
    attempt: int
    def __init__(self, id: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[JobState, str]] = ..., stage: _Optional[_Union[Stage, str]] = ..., step: _Optional[int] = ..., total_steps: _Optional[int] = ..., fraction: _Optional[float] = ..., time_left_s: _Optional[float] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., energy: _Optional[_Union[EnergyResult, _Mapping]] = ..., conflict: _Optional[_Union[ConflictResult, _Mapping]] = ..., sound: _Optional[_Union[SoundResult, _Mapping]] = ..., timeline: _Optional[_Union[TimelineResult, _Mapping]] = ..., submitted_at_ms: _Optional[int] = ..., finished_at_ms: _Optional[int] = ..., name: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ClipRead(_message.Message):
    __slots__ = ("name", "path", "start_s", "duration_s", "frame_rate")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    start_s: Rational
    duration_s: Rational
    frame_rate: Rational
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., start_s: _Optional[_Union[Rational, _Mapping]] = ..., duration_s: _Optional[_Union[Rational, _Mapping]] = ..., frame_rate: _Optional[_Union[Rational, _Mapping]] = ...) -> None: ...

class EnergyResult(_message.Message):
    __slots__ = ("clip", "energy", "pack", "timings_s", "cuts_s", "texture", "events", "unedited")
    class TimingsSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CLIP_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_S_FIELD_NUMBER: _ClassVar[int]
    CUTS_S_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    UNEDITED_FIELD_NUMBER: _ClassVar[int]
    clip: ClipRead
    energy: EnergyCurve
    pack: Pack
    timings_s: _containers.ScalarMap[str, float]
    cuts_s: _containers.RepeatedCompositeFieldContainer[Rational]
    texture: TextureCurve
    events: _containers.RepeatedCompositeFieldContainer[EnergyEvent]
    unedited: EnergyCurve
    def __init__(self, clip: _Optional[_Union[ClipRead, _Mapping]] = ..., energy: _Optional[_Union[EnergyCurve, _Mapping]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., timings_s: _Optional[_Mapping[str, float]] = ..., cuts_s: _Optional[_Iterable[_Union[Rational, _Mapping]]] = ..., texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., events: _Optional[_Iterable[_Union[EnergyEvent, _Mapping]]] = ..., unedited: _Optional[_Union[EnergyCurve, _Mapping]] = ...) -> None: ...

class ConflictResult(_message.Message):
    __slots__ = ("clip", "verdict", "score", "explanation", "pack", "moments", "suggestions", "encoder")
    CLIP_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    clip: ClipRead
    verdict: Verdict
    score: float
    explanation: str
    pack: Pack
    moments: _containers.RepeatedCompositeFieldContainer[ConflictMoment]
    suggestions: _containers.RepeatedCompositeFieldContainer[Suggestion]
    encoder: str
    def __init__(self, clip: _Optional[_Union[ClipRead, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., score: _Optional[float] = ..., explanation: _Optional[str] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., moments: _Optional[_Iterable[_Union[ConflictMoment, _Mapping]]] = ..., suggestions: _Optional[_Iterable[_Union[Suggestion, _Mapping]]] = ..., encoder: _Optional[str] = ...) -> None: ...

class ConflictMoment(_message.Message):
    __slots__ = ("start_s", "end_s", "score", "looks_like")
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LOOKS_LIKE_FIELD_NUMBER: _ClassVar[int]
    start_s: Rational
    end_s: Rational
    score: float
    looks_like: str
    def __init__(self, start_s: _Optional[_Union[Rational, _Mapping]] = ..., end_s: _Optional[_Union[Rational, _Mapping]] = ..., score: _Optional[float] = ..., looks_like: _Optional[str] = ...) -> None: ...

class Suggestion(_message.Message):
    __slots__ = ("words", "score", "source")
    WORDS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    words: str
    score: float
    source: str
    def __init__(self, words: _Optional[str] = ..., score: _Optional[float] = ..., source: _Optional[str] = ...) -> None: ...

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

class Take(_message.Message):
    __slots__ = ("seed", "stems", "energy_mae_nats", "energy_correlation", "produced", "text_score", "score", "faults", "instead_of_seed", "layers", "produced_texture", "texture_error_nats")
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEMS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MAE_NATS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    PRODUCED_FIELD_NUMBER: _ClassVar[int]
    TEXT_SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    INSTEAD_OF_SEED_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    PRODUCED_TEXTURE_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_ERROR_NATS_FIELD_NUMBER: _ClassVar[int]
    seed: int
    stems: _containers.RepeatedCompositeFieldContainer[Stem]
    energy_mae_nats: float
    energy_correlation: float
    produced: EnergyCurve
    text_score: float
    score: float
    faults: _containers.RepeatedScalarFieldContainer[str]
    instead_of_seed: int
    layers: _containers.RepeatedCompositeFieldContainer[LayerReport]
    produced_texture: TextureCurve
    texture_error_nats: float
    def __init__(self, seed: _Optional[int] = ..., stems: _Optional[_Iterable[_Union[Stem, _Mapping]]] = ..., energy_mae_nats: _Optional[float] = ..., energy_correlation: _Optional[float] = ..., produced: _Optional[_Union[EnergyCurve, _Mapping]] = ..., text_score: _Optional[float] = ..., score: _Optional[float] = ..., faults: _Optional[_Iterable[str]] = ..., instead_of_seed: _Optional[int] = ..., layers: _Optional[_Iterable[_Union[LayerReport, _Mapping]]] = ..., produced_texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., texture_error_nats: _Optional[float] = ...) -> None: ...

class SoundResult(_message.Message):
    __slots__ = ("clip", "pack", "takes", "requested", "timings_s", "settings", "cuts_s", "requested_texture", "conflict", "prompt_weight")
    class TimingsSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CLIP_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    TAKES_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_S_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CUTS_S_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_TEXTURE_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    clip: ClipRead
    pack: Pack
    takes: _containers.RepeatedCompositeFieldContainer[Take]
    requested: EnergyCurve
    timings_s: _containers.ScalarMap[str, float]
    settings: SoundSettings
    cuts_s: _containers.RepeatedCompositeFieldContainer[Rational]
    requested_texture: TextureCurve
    conflict: ConflictResult
    prompt_weight: float
    def __init__(self, clip: _Optional[_Union[ClipRead, _Mapping]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., takes: _Optional[_Iterable[_Union[Take, _Mapping]]] = ..., requested: _Optional[_Union[EnergyCurve, _Mapping]] = ..., timings_s: _Optional[_Mapping[str, float]] = ..., settings: _Optional[_Union[SoundSettings, _Mapping]] = ..., cuts_s: _Optional[_Iterable[_Union[Rational, _Mapping]]] = ..., requested_texture: _Optional[_Union[TextureCurve, _Mapping]] = ..., conflict: _Optional[_Union[ConflictResult, _Mapping]] = ..., prompt_weight: _Optional[float] = ...) -> None: ...

class TimelineResult(_message.Message):
    __slots__ = ("timeline_otio_json", "clips")
    TIMELINE_OTIO_JSON_FIELD_NUMBER: _ClassVar[int]
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    timeline_otio_json: str
    clips: _containers.RepeatedCompositeFieldContainer[SoundResult]
    def __init__(self, timeline_otio_json: _Optional[str] = ..., clips: _Optional[_Iterable[_Union[SoundResult, _Mapping]]] = ...) -> None: ...

class FindMediaRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    def __init__(self, sha256: _Optional[str] = ...) -> None: ...

class FindMediaResponse(_message.Message):
    __slots__ = ("present",)
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    present: bool
    def __init__(self, present: bool = ...) -> None: ...

class UploadMediaRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: UploadHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ("sha256", "size_bytes", "extension")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    extension: str
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., extension: _Optional[str] = ...) -> None: ...

class Media(_message.Message):
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

class ArtifactChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
