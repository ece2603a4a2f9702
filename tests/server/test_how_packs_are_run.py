"""How packs are run travels from the server's start to its worker, and a lack of memory to whoever asked."""

from pathlib import Path

import pytest

from rewas_api.errors import ProblemKind
from rewas_engine import Execution, InsufficientMemoryError
from rewas_server.config import ServerConfig
from rewas_server.work.translation import problem_from_error
from rewas_server.worker import messages


@pytest.mark.parametrize("execution", [Execution(), Execution(precision="float16", low_memory=True)])
def test_the_worker_is_told(execution: Execution) -> None:
    config = ServerConfig(execution=execution)
    start = messages.Start(
        (Path("/media"),), Path("/uploads"), Path("/artifacts"), "starter", "cpu", execution=config.execution
    )
    assert messages.from_line(messages.to_line(start)) == start


def test_another_precision_is_no_message() -> None:
    start = messages.Start((), Path("/uploads"), Path("/artifacts"), "starter", "cpu")
    line = messages.to_line(start).replace(b'"low_memory": false', b'"low_memories": false')
    with pytest.raises(ValueError, match="not a message"):
        messages.from_line(line)


def test_a_lack_of_memory_is_one_of_resources() -> None:
    problem = problem_from_error(InsufficientMemoryError("sampling", "Choose a shorter clip."))
    assert problem.kind == ProblemKind.RESOURCES
    assert "while sampling" in problem.what
    assert problem.remedy == "Choose a shorter clip."
