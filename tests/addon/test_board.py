"""Messages update the panel's state: progress never decreases, and a final state stays final."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.core.board import Board, JobStatus, apply_message
from rewas_nle.core.messages import (
    GenerationInfo,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobProgress,
    Message,
    PackChoice,
    Problem,
    ServerFound,
    ServerLost,
    ServerState,
    StemsReceived,
)

PROBLEM = Problem("The picture could not be read.", "Check the file.")
GENERATION_INFO = GenerationInfo("starter", "1.0.0", "Apache-2.0", 25, 3.0, 1.0)
FINAL_MESSAGES: list[Message] = [
    StemsReceived("k", "j", GENERATION_INFO, Fraction(2), ()),
    JobFailed("k", PROBLEM),
    JobCancelled("k"),
]


def progress(revision: int, fraction: float, state: str = "running", stage: str = "sample") -> JobProgress:
    return JobProgress("k", revision, state, stage, revision, 25, fraction, None)


MESSAGES = st.one_of(
    st.just(JobAccepted("k", "j")),
    st.builds(progress, st.integers(1, 40), st.floats(0, 1), st.sampled_from(["queued", "running", "cancelling"])),
    st.sampled_from(FINAL_MESSAGES),
)


def board_with_job(**changes: object) -> Board:
    return Board().with_job(JobStatus("k", "ball.mp4", **changes))  # type: ignore[arg-type]


@given(st.lists(MESSAGES, max_size=30))
def test_progress_never_decreases_and_final_states_stay(messages: list[Message]) -> None:
    board = board_with_job()
    for message in messages:
        before = board.jobs["k"]
        board = apply_message(board, message)
        after = board.jobs["k"]
        assert after.fraction >= before.fraction
        assert after.revision >= before.revision
        assert after.status_text
        if before.is_finished:
            assert after == before


def test_status_texts_from_sending_to_done() -> None:
    board = board_with_job()
    texts = [board.jobs["k"].status_text]
    messages: list[Message] = [
        JobAccepted("k", "j"),
        progress(1, 0.0, "queued", ""),
        progress(2, 0.1, "running", "decode"),
        progress(12, 0.5),
        FINAL_MESSAGES[0],
    ]
    for message in messages:
        board = apply_message(board, message)
        texts.append(board.jobs["k"].status_text)
    assert texts == [
        "Sending",
        "Waiting",
        "Waiting",
        "Reading video 2/25",
        "Generating 12/25",
        "Placing",
    ]
    # The stems are on disk, but not on the timeline yet.
    assert board.is_busy


def test_the_notes_of_a_sound_are_shown() -> None:
    notes = ("Little motion was found in the video, so the sound is nearly even.",)
    board = apply_message(board_with_job(), StemsReceived("k", "j", GENERATION_INFO, Fraction(2), (), notes))
    assert board.jobs["k"].sound_notes == notes


def test_a_late_snapshot_does_not_undo_a_cancel() -> None:
    board = apply_message(board_with_job(state="cancelling"), progress(5, 0.3))
    assert board.jobs["k"].state == "cancelling"
    assert board.jobs["k"].status_text == "Cancelling"
    assert apply_message(board, JobCancelled("k")).jobs["k"].state == "cancelled"


def test_messages_for_unknown_jobs_change_nothing() -> None:
    board = Board()
    assert apply_message(board, JobFailed("unknown", PROBLEM)) is board


def test_server_state_is_kept_and_finished_jobs_can_be_cleared() -> None:
    board = apply_message(board_with_job(), ServerState("127.0.0.1:1", PROBLEM))
    assert board.server is not None
    assert board.server.problem == PROBLEM
    assert board.finished_keys() == []
    board = apply_message(board, FINAL_MESSAGES[1])
    assert board.finished_keys() == ["k"]
    assert board.without_jobs(["k"]).jobs == {}


def test_a_job_shows_that_its_server_is_away_until_it_is_back() -> None:
    board = apply_message(board_with_job(), progress(3, 0.4))
    board = apply_message(board, ServerLost(("k", "another"), PROBLEM))
    assert board.jobs["k"].status_text == "Waiting for the server"
    assert board.jobs["k"].server_problem == PROBLEM
    assert board.is_busy
    assert apply_message(board, progress(4, 0.5)).jobs["k"].status_text == "Generating 4/25"
    assert apply_message(board, ServerFound(("k",))).jobs["k"].status_text == "Generating 3/25"
    done = apply_message(board, FINAL_MESSAGES[2])
    assert apply_message(done, ServerLost(("k",), PROBLEM)).jobs["k"].server_problem is None


def test_only_failed_jobs_can_be_retried() -> None:
    for message in FINAL_MESSAGES:
        job = apply_message(board_with_job(), message).jobs["k"]
        assert job.can_retry == isinstance(message, JobFailed)


def test_an_upload_is_shown_and_does_not_count_as_progress_of_the_job() -> None:
    board = apply_message(board_with_job(), JobProgress("k", 0, "sending", "upload", 0, 0, 0.75, None))
    assert (board.jobs["k"].status_text, board.jobs["k"].fraction) == ("Uploading", 0.75)
    board = apply_message(board, JobAccepted("k", "j"))
    assert (board.jobs["k"].status_text, board.jobs["k"].fraction) == ("Waiting", 0.0)


def test_the_licence_of_the_selected_pack_comes_from_the_server() -> None:
    packs = (
        PackChoice("starter", "Small.", "Apache-2.0", "Free for any use.", ""),
        PackChoice("large", "Large.", "CC-BY-NC-SA-4.0", "Non-commercial use only.", ""),
        PackChoice("broken", "", "", "", "The pack broken is damaged."),
    )
    server = ServerState("127.0.0.1:1", None, default_pack="starter", packs=packs)
    assert server.pack("") == server.pack(" starter ") == packs[0]
    chosen = server.pack("large")
    assert chosen is not None
    assert chosen.terms == "large: CC-BY-NC-SA-4.0. Non-commercial use only."
    library = PackChoice("foley", "A library.", "", "The licence is not stated.", "")
    assert library.terms == "foley: The licence is not stated."
    assert server.pack("broken") is None
    assert server.pack("absent") is None
