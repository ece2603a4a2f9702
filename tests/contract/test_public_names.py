"""The public names of `rewas_api`. A change here is a change for all its users."""

import importlib
import inspect
import subprocess
import sys

import pytest

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemKind
from rewas_api.v1 import rewas_pb2

PUBLIC_NAMES = {
    "rewas_api": {"CONTRACT_MINOR_VERSION", "CONTRACT_VERSION", "DEFAULT_PORT", "__version__"},
    "rewas_api.client": {"DEFAULT_ADDRESS", "FINAL_STATES", "CancelSignal", "RewasClient", "Work"},
    "rewas_api.errors": {
        "PROBLEM_METADATA_KEY",
        "ContractMismatch",
        "JobCancelled",
        "JobFailed",
        "ProblemError",
        "ProblemKind",
        "ServerUnavailable",
        "SettingsProblem",
        "TimelineProblem",
    },
    "rewas_api.layer_settings": {
        "GAIN_RANGE_DB",
        "LAYER_ENERGIES",
        "MAX_LAYERS",
        "LayerSettings",
        "validate_gain_db",
        "validate_layers",
        "validate_location",
    },
    "rewas_api.performance_settings": {
        "MAX_PITCH_VARIATION_CENTS",
        "MAX_PLACE",
        "MAX_TIMING_VARIATION_S",
        "ROOMS",
        "TAILS",
        "PerformanceSettings",
        "validate_performance",
    },
    "rewas_api.value_checks": {
        "format_value",
        "invalid_value",
        "known_entries",
        "validate_choice",
        "validate_number",
    },
    "rewas_api.clip_settings": {
        "CONFLICT_POLICIES",
        "CONTROLS",
        "DEFAULT_SAMPLE_RATE_HZ",
        "LEVELS",
        "MAX_PROMPT_CHARACTERS",
        "METADATA_KEY",
        "RANKS",
        "SAMPLERS",
        "SAMPLE_RATES_HZ",
        "ClipSettings",
        "OtioClip",
        "read_clip_settings",
        "write_clip_settings",
    },
}
CLIENT_CALLS = {
    "address", "cancel", "close", "delete", "fetch_artifact", "get_job", "get_server_info", "has_media", "list_jobs",
    "list_packs", "load_pack", "pause", "pin", "resume", "retry", "submit", "timeline_result", "upload_media",
    "wait", "watch",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_modules_export_exactly_these_names(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module.__all__) == PUBLIC_NAMES[name]
    assert all(hasattr(module, exported) for exported in module.__all__)


def test_the_client_has_exactly_these_calls() -> None:
    client = RewasClient("127.0.0.1:1")
    assert {name for name in dir(client) if not name.startswith("_")} == CLIENT_CALLS
    client.close()


def test_every_public_name_has_a_docstring() -> None:
    for name in PUBLIC_NAMES:
        module = importlib.import_module(name)
        for exported in module.__all__:
            item = getattr(module, exported)
            if inspect.isclass(item) or inspect.isfunction(item):
                assert (item.__doc__ or "").strip(), f"{name}.{exported}"
    for name in CLIENT_CALLS - {"address"}:
        assert (getattr(RewasClient, name).__doc__ or "").strip(), name


def test_problem_kinds_are_those_of_the_contract() -> None:
    assert {f"PROBLEM_KIND_{kind.name}": kind.value for kind in ProblemKind} == dict(rewas_pb2.ProblemKind.items())


def test_settings_import_neither_grpc_nor_opentimelineio_nor_torch() -> None:
    code = (
        "import sys, rewas_api.clip_settings, rewas_api.errors;"
        "print([name for name in ('grpc', 'opentimelineio', 'torch', 'numpy') if name in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"
