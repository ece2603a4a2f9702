"""Execution settings are passed from the server to its worker, and out-of-memory errors to the client."""

from pathlib import Path

import pytest

from rewas_api.errors import ProblemKind
from rewas_engine import Execution, InsufficientMemoryError
from rewas_engine.media.limits import DecodingLimits
from rewas_server.config import DecodingSettings, ServerConfig
from rewas_server.work.translation import problem_from_error
from rewas_server.worker import messages
from rewas_server.worker.process import start_message


@pytest.mark.parametrize("execution", [Execution(), Execution(precision="float16", low_memory=True)])
def test_the_worker_gets_the_execution_settings(execution: Execution) -> None:
    config = ServerConfig(execution=execution)
    start = messages.Start(
        (Path("/media"),), Path("/uploads"), Path("/artifacts"), "starter", "cpu", execution=config.execution
    )
    assert messages.from_line(messages.to_line(start)) == start


def test_the_worker_gets_the_limits_of_decoding() -> None:
    config = ServerConfig(decoding=DecodingSettings(pixels=1000, call_s=7.5))
    start = messages.from_line(messages.to_line(start_message(config, "cpu")))
    assert isinstance(start, messages.Start)
    assert start.decoding == DecodingLimits(pixels=1000, call_s=7.5)


def test_a_message_with_an_unknown_precision_is_refused() -> None:
    start = messages.Start((), Path("/uploads"), Path("/artifacts"), "starter", "cpu")
    line = messages.to_line(start).replace(b'"low_memory": false', b'"low_memories": false')
    with pytest.raises(ValueError, match="not a message"):
        messages.from_line(line)


def test_out_of_memory_is_a_resources_problem() -> None:
    problem = problem_from_error(InsufficientMemoryError("sampling", "Choose a shorter clip."))
    assert problem.kind == ProblemKind.RESOURCES
    assert "while sampling" in problem.what
    assert problem.remedy == "Choose a shorter clip."
