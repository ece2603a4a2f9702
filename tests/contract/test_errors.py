"""Errors keep their sentences and their kind on the way to another process."""

import pickle

import pytest

from rewas_api.errors import ProblemError, ServerUnavailable, SettingsProblem, TimelineProblem


@pytest.mark.parametrize("kind", [SettingsProblem, TimelineProblem, ServerUnavailable])
def test_a_pickled_error_says_the_same(kind: type[ProblemError]) -> None:
    problem = kind("The clip is too short.", "Extend it.")  # type: ignore[call-arg]
    received = pickle.loads(pickle.dumps(problem))
    assert isinstance(received, ProblemError)
    assert (received.what, received.remedy, received.kind) == (problem.what, problem.remedy, problem.kind)
    assert str(received) == str(problem)
