"""`rewas conflict`, `--conflict` of `generate` and `batch`, and invalid options."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio
import pytest
from rewas_command import CommandResult, Rewas, running_server

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine import ConflictError, ConflictReport, ConflictSpan, ReWaS, Suggestion
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.matching.evidence import conflict_report, gather_evidence
from rewas_engine.world import captions, render_brightness
from rewas_server.grpc.security import STATUS_BY_KIND
from rewas_server.work.translation import conflict_message, problem_from_error
from rewas_server.worker import messages

CLASSES = ("rain", "drum_hit", "dog_bark", "bell")
QUICK = ("--steps", 1, "--seed", 3, "--sample-rate", 16000, "--precision", "float32")


@dataclass(frozen=True)
class Film:
    """A rendered clip. wrong: the prompt of another class, for which the starter pack reports a conflict."""

    path: Path
    right: str
    wrong: str
    wrong_score: float


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """The first development clip for which the shipped pack reports a conflict."""
    model = ReWaS.from_pretrained("starter", device="cpu")
    rate, width, height = model.frame_format
    for scene in DEVELOPMENT.visible(12):
        frames = render_brightness(scene, frame_rate=rate, width=width, height=height)
        embedding = model.matcher.embed(frames)
        for other in CLASSES:
            prompt = captions(other)[0]
            report = conflict_report(
                prompt, gather_evidence(model.matcher, prompt, model.matcher.score_embedding(prompt, embedding))
            )
            if other != scene.class_name and report.verdict == "conflict" and report.suggestions:
                path = tmp_path_factory.mktemp("films") / "shot 4.mkv"
                write_film(path, frames, rate)
                return Film(path, captions(scene.class_name)[0], prompt, report.score)
    raise AssertionError("The shipped pack reports no conflict for any clip.")


def write_film(path: Path, frames: np.ndarray, rate: Fraction) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "bgr0"
        for number, grey in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def assert_refused(result: CommandResult, kind: str, *messages: str) -> None:
    assert result.code == 2, result.errors
    error = result.json()["error"]
    assert error["kind"] == kind
    for message in messages:
        assert message in f"{error['what']} {error['remedy']}"
    assert "Traceback" not in result.errors


def test_conflict_prints_one_json_object(bare_rewas: Rewas, film: Film) -> None:
    report = bare_rewas("conflict", film.path, "--prompt", film.wrong, "--json").json()
    assert {"clip", "pack", "prompt", "verdict", "score", "explanation", "moments", "suggestions", "encoder"} == set(
        report
    )
    assert report["verdict"] == "conflict"
    # Frames from a file give the same score as the same frames in memory.
    assert report["score"] == pytest.approx(film.wrong_score, abs=0.02)
    assert report["encoder"] == "the joint space of the pack starter"
    for span in report["moments"]:
        assert 0 <= span["start_s"] < span["end_s"] <= report["clip"]["duration_s"]
        assert 0 <= span["score"] <= 1
        assert span["looks_like"]
    assert 1 <= len(report["suggestions"]) <= 3
    assert all(suggestion["score"] > report["score"] for suggestion in report["suggestions"])
    result = bare_rewas("conflict", film.path, "--prompt", film.wrong)
    assert "conflict (0." in result.output
    assert "better prompts: “" in result.output


def test_policies_of_generate(bare_rewas: Rewas, film: Film, tmp_path: Path) -> None:
    def generate(policy: str, prompt: str = film.wrong) -> CommandResult:
        out = ("-o", tmp_path / policy, "--duration", 1, "--json")
        return bare_rewas("generate", film.path, "--prompt", prompt, *QUICK, "--conflict", policy, *out)

    plain, warned = generate("off").json(), generate("warn").json()
    assert plain["conflict"] is None
    assert warned["conflict"]["verdict"] in ("agree", "unsure", "conflict")
    assert warned["settings"]["conflict_policy"] == "warn"
    assert warned["prompt_weight"] == 1
    energies = [report["takes"][0]["energy_produced"] for report in (plain, warned)]
    assert energies[0] == energies[1]


def test_policies_soften_and_refuse(bare_rewas: Rewas, film: Film, tmp_path: Path) -> None:
    arguments = ("generate", film.path, "--prompt", film.wrong, *QUICK, "-o", tmp_path / "stems")
    result = bare_rewas(*arguments, "--conflict", "refuse", "--json")
    assert_refused(
        result, "CONFLICT", "No sound was generated for the clip shot 4.mkv", "the video looks like", "Try “"
    )
    assert not list(tmp_path.rglob("*.wav"))
    softened = bare_rewas(*arguments, "--conflict", "soften", "--json").json()
    assert 0.5 <= softened["prompt_weight"] < 1
    assert softened["conflict"]["verdict"] == "conflict"


def test_a_refused_clip_of_a_timeline_does_not_stop_the_others(bare_rewas: Rewas, film: Film, tmp_path: Path) -> None:
    timeline = otio.schema.Timeline("reel")
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    duration = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 25), otio.opentime.RationalTime(125, 25))
    for name, prompt in (("one", film.wrong), ("two", film.right)):
        reference = otio.schema.ExternalReference(target_url=str(film.path))
        track.append(otio.schema.Clip(name, reference, duration, metadata={"rewas": {"prompt": prompt}}))
    otio.adapters.write_to_file(timeline, str(tmp_path / "reel.otio"))
    result = bare_rewas(
        "batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems",
        "--steps", 1, "--precision", "float32", "--conflict", "refuse", "--json",
    )  # fmt: skip
    assert result.code == 1
    refused, generated = result.json()["clips"]
    assert (refused["clip"]["name"], refused["problem"]["kind"]) == ("one", "CONFLICT")
    assert "the clip one" in refused["problem"]["what"]
    assert (generated["clip"]["name"], generated["problem"]) == ("two", None)
    (stem,) = (tmp_path / "stems").glob("*.wav")
    finished = otio.adapters.read_from_file(str(tmp_path / "out.otio"))
    (placed,) = finished.audio_tracks()[0].find_clips()
    assert tmp_path / placed.media_reference.target_url == stem
    assert placed.range_in_parent().start_time.to_seconds() == 5


def test_invalid_options_are_refused(bare_rewas: Rewas, packs: Path, film: Film, tmp_path: Path) -> None:
    clip, without_joint_space = film.path, packs / "starter"
    conflict = ("conflict", clip, "--json", "--prompt")
    generate = ("generate", clip, "--prompt", "rain", "-o", tmp_path, *QUICK, "--json")
    assert_refused(bare_rewas(*conflict, " "), "SETTINGS", "empty prompt")
    assert_refused(bare_rewas("conflict", clip, "--json"), "SETTINGS", "--prompt")
    assert_refused(bare_rewas(*generate, "--conflict", "strict"), "SETTINGS", "'strict'", "off, warn, soften, refuse")
    for policy in ("warn", "soften", "refuse"):
        result = bare_rewas(*generate, "--conflict", policy, "--pack", without_joint_space)
        assert_refused(result, "PACK", "cannot compare prompts with video", f"policy is {policy}")
    missing_model = ("--conflict-model", tmp_path / "gone")
    assert_refused(bare_rewas(*conflict, "rain", *missing_model), "PACK", "The CLIP model folder", "gone")
    result = bare_rewas(*conflict, "rain", "--conflict-model", tmp_path, "--server", "127.0.0.1:1")
    assert_refused(result, "SETTINGS", "on a server", "Start the server with --conflict-model")
    assert not list(tmp_path.rglob("*.wav"))
    # `rewas conflict` itself reports that nothing was checked.
    report = bare_rewas(*conflict, "rain", "--pack", without_joint_space).json()
    assert (report["verdict"], report["score"], report["moments"], report["encoder"]) == ("unsupported", None, [], None)
    assert "nothing was checked" in report["explanation"]


REPORT = ConflictReport(
    "conflict",
    0.0123,
    "The video looks like “rain”, not like “a bell”.",
    (ConflictSpan(Fraction(1, 3), Fraction(5, 2), 0.02, "rain"),),
    (Suggestion("raining", 0.9, "vggsound"),),
    "a test encoder",
)


def test_a_conflict_has_its_own_problem_kind() -> None:
    problem = problem_from_error(ConflictError("shot 4", REPORT))
    assert problem.kind is ProblemKind.CONFLICT
    assert "“raining”" in problem.remedy
    assert STATUS_BY_KIND[problem.kind].name == "FAILED_PRECONDITION"
    received = messages.from_line(messages.to_line(messages.Failed("job", problem)))
    assert isinstance(received, messages.Failed)
    assert (received.problem.kind, received.problem.what) == (ProblemKind.CONFLICT, problem.what)
    assert isinstance(received.problem, ProblemError)


def test_a_report_survives_the_contract() -> None:
    message = conflict_message(REPORT)
    (span,), (suggestion,) = message.ranges, message.suggestions
    assert (span.start_s.numerator, span.start_s.denominator, span.best_label) == (1, 3, "rain")
    assert (suggestion.prompt, suggestion.source, message.encoder) == ("raining", "vggsound", "a test encoder")
    assert not message.HasField("clip")


@pytest.mark.parametrize("folder", [None, Path("models") / "clip"])
@pytest.mark.parametrize(
    "name", ["conflict_model", "avh_model", "picture_model", "sound_model", "language_model", "video_model"]
)
def test_the_worker_gets_the_models_of_the_server(folder: Path | None, name: str) -> None:
    start = messages.Start((Path("/media"),), Path("up"), Path("art"), "starter", "cpu", **{name: folder})
    assert messages.from_line(messages.to_line(start)) == start


def write_reel(path: Path, *media: Path, frames: float = 125) -> None:
    """Write a timeline with the beginning of each file, in frames at 25 frames per second, without prompts."""
    timeline = otio.schema.Timeline("reel")
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    duration = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 25), otio.opentime.RationalTime(frames, 25))
    for file in media:
        track.append(otio.schema.Clip(file.stem, otio.schema.ExternalReference(target_url=str(file)), duration))
    otio.adapters.write_to_file(timeline, str(path))


def test_a_pack_suggests_prompts_for_a_sheet_and_overrides_none(bare_rewas: Rewas, film: Film, tmp_path: Path) -> None:
    best = bare_rewas("conflict", film.path, "--prompt", film.wrong, "--json").json()["suggestions"][0]
    write_reel(tmp_path / "reel.otio", film.path, tmp_path / "gone.mkv")
    sheet = tmp_path / "sheet.csv"
    result = bare_rewas("timeline", "sheet", tmp_path / "reel.otio", "-o", sheet, "--suggest", "--json")
    report = result.json()
    assert (result.code, report["lines"], report["with_prompt"]) == (0, 2, 1)
    suggested, missing = report["notes"][-2:]
    assert missing.startswith('No prompt was suggested. The clip "gone": The media file')
    assert suggested.startswith(f'The clip "shot 4": suggested “{best["words"]}” (0.')
    assert f",{best['words']}," in sheet.read_text("utf-8-sig")
    filled = tmp_path / "filled.csv"
    rules = ("--prompt-for", "shot*=my own", "--suggest", "--json")
    report = bare_rewas("timeline", "sheet", tmp_path / "reel.otio", "-o", filled, *rules).json()
    assert not [note for note in report["notes"] if "suggested “" in note]
    assert ",my own," in filled.read_text("utf-8-sig")


def test_a_batch_uses_suggested_prompts(bare_rewas: Rewas, film: Film, tmp_path: Path) -> None:
    write_reel(tmp_path / "reel.otio", film.path)
    batch = ("batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems")
    refused = bare_rewas(*batch, "--json")
    assert_refused(refused, "TIMELINE", "has a prompt", "--suggest")
    result = bare_rewas(*batch, "--suggest", "--steps", 1, "--precision", "float32", "--json")
    assert result.code == 0, result.errors
    assert "suggested “" in result.errors
    (clip,) = result.json()["clips"]
    assert f"suggested “{clip['prompt']}” (0." in result.errors


@pytest.mark.slow
def test_a_batch_on_a_server_uses_its_suggestions_and_keeps_the_sounds(
    bare_rewas: Rewas, film: Film, tmp_path: Path
) -> None:
    scene = next(each for each in DEVELOPMENT.visible(12) if captions(each.class_name)[0] != film.right)
    rate, width, height = Fraction(25), 224, 224
    other = tmp_path / "shot 5.mkv"
    write_film(other, render_brightness(scene, frame_rate=rate, width=width, height=height), rate)
    (tmp_path / "shot 4.mkv").write_bytes(film.path.read_bytes())
    reel = tmp_path / "reel.otio"
    write_reel(reel, tmp_path / "shot 4.mkv", other, frames=50)
    sheet = bare_rewas("timeline", "sheet", reel, "-o", tmp_path / "sheet.csv", "--suggest", "--json")
    assert sheet.code == 0, sheet
    suggested = [note for note in sheet.json()["notes"] if "suggested “" in note]
    assert len(suggested) == 2
    with running_server(tmp_path / "no packs", tmp_path / "home", tmp_path) as server:
        batch = (
            "batch", reel, "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--suggest", "--steps", 1,
            "--json", "--server", server,
        )  # fmt: skip
        first, again = bare_rewas(*batch), bare_rewas(*batch)
    for result, origin in ((first, "generated"), (again, "kept")):
        assert result.code == 0, result.errors
        clips = result.json()["clips"]
        assert [clip["origin"] for clip in clips] == [origin] * 2
        assert len({clip["prompt"] for clip in clips}) == 2
        for note, clip in zip(suggested, clips, strict=True):
            assert note in result.errors
            assert f"suggested “{clip['prompt']}” (0." in note


def test_a_pack_that_cannot_suggest_says_so(bare_rewas: Rewas, packs: Path, film: Film, tmp_path: Path) -> None:
    write_reel(tmp_path / "reel.otio", film.path)
    sheet = ("timeline", "sheet", tmp_path / "reel.otio", "-o", tmp_path / "sheet.csv", "--suggest", "--json")
    assert_refused(bare_rewas(*sheet, "--pack", packs / "starter"), "PACK", "cannot suggest prompts")
    assert not (tmp_path / "sheet.csv").exists()


def test_a_server_suggests_prompts(rewas: Rewas, server: str, media: Path, tmp_path: Path) -> None:
    write_reel(tmp_path / "reel.otio", media / "ball.mp4", frames=25)
    sheet = ("timeline", "sheet", tmp_path / "reel.otio", "-o", tmp_path / "sheet.csv", "--suggest", "--json")
    assert_refused(rewas(*sheet, "--server", server), "PACK", "cannot suggest prompts")
