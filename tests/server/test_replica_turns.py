"""Which jobs may run in a replica at the same time."""

from hypothesis import given
from hypothesis import strategies as st

from rewas_server.cluster.turns import Turn, Turns

JOBS = ["a", "b", "c"]


def running(turns: list[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn.begun.is_set()]


@given(
    limit=st.integers(1, 4),
    actions=st.lists(st.tuples(st.sampled_from(JOBS), st.booleans()) | st.integers(0, 9), max_size=40),
)
def test_jobs_run_together_or_alone_in_the_order_in_which_they_ask(
    limit: int, actions: list[tuple[str, bool] | int]
) -> None:
    """An action asks for a turn, or is a number: the job at this place leaves, whether it runs or waits."""
    turns, asked = Turns(limit), list[Turn]()
    for action in actions:
        if isinstance(action, tuple):
            job_id, is_alone = action
            asked.append(turns.ask(job_id, is_alone=is_alone))
        elif asked:
            turns.leave(asked.pop(action % len(asked)))
        begun = running(asked)
        assert begun == asked[: len(begun)]
        assert len(begun) <= limit
        assert len({turn.job_id for turn in begun}) == len(begun)
        assert len(begun) == 1 or not any(turn.is_alone for turn in begun)
        assert turns.idle.is_set() == (not begun)
        # Nobody waits without a reason.
        if len(begun) < min(limit, len(asked)):
            first = asked[len(begun)]
            assert begun
            assert first.is_alone or begun[0].is_alone or first.job_id in {turn.job_id for turn in begun}
    for turn in list(asked):
        asked.remove(turn)
        turns.leave(turn)
    assert turns.idle.is_set()


def test_no_job_begins_in_a_closed_replica() -> None:
    turns = Turns(2)
    first = turns.ask("a", is_alone=False)
    turns.close()
    second = turns.ask("b", is_alone=False)
    turns.leave(first)
    assert turns.idle.is_set()
    assert not second.begun.is_set()
    turns.leave(second)
