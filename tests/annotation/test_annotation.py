"""Captions, sentences and statistics of clips, with models in local folders and with a real server."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_language_models import write_audio_to_text_model, write_image_to_text_model, write_language_model

from rewas_engine.annotation.annotator import Annotator
from rewas_engine.annotation.language_server import LanguageServer, LanguageServerError
from rewas_engine.annotation.local_models import LocalLanguageModel, PictureCaptioner, SoundCaptioner
from rewas_engine.annotation.sentences import MAX_WORDS, clean_sentence, count_words, remove_repeats, split_sentences
from rewas_engine.annotation.stages import Caption
from rewas_engine.annotation.statistics import Statistics
from rewas_engine.errors import Cancelled, PackError, SettingsError
from rewas_engine.media.clip import VideoClip
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.clip_series import encode_clip


@dataclass(frozen=True)
class Fixed:
    """Captions that are known beforehand."""

    captions: tuple[Caption, ...]
    has_labels: bool = False
    name: str = "fixed"

    def caption(self, clip: VideoClip, cancel: CancelSignal | None) -> tuple[Caption, ...]:
        return self.captions


@dataclass(frozen=True)
class Answering:
    """A language model with one answer for everything."""

    text: str
    name: str = "answering"

    def answer(self, instruction: str, text: str, cancel: CancelSignal | None) -> str:
        return self.text


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> VideoClip:
    path = tmp_path_factory.mktemp("clips") / "shot.mp4"
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (25, 32, 48, 3), np.uint8)
    encode_clip(path, frames, Fraction(25), 23, rng.normal(0, 0.1, 16_000).astype(np.float32))
    return VideoClip(path)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("a dog barks", "A dog barks."),
        ('Sure, here is the sentence: "A dog barks." I hope it helps!', "A dog barks."),
        ("<think>What is it? A dog.</think> a dog barks loudly", "A dog barks loudly."),
        ("a dog a dog a dog", "A dog."),
        ("a very very loud dog", "A very very loud dog."),
        ("", ""),
        ("   \n\t ", ""),
        ("...!?", ""),
        ("word " * (MAX_WORDS + 1), ""),
    ],
)
def test_answers_become_one_sentence_or_nothing(answer: str, sentence: str) -> None:
    assert clean_sentence(answer) == sentence


@given(st.text(max_size=300))
def test_a_cleaned_sentence_is_short_and_stays_as_it_is(answer: str) -> None:
    sentence = clean_sentence(answer)
    assert count_words(sentence) <= MAX_WORDS
    assert "\n" not in sentence
    assert not sentence or sentence[-1] in ".!?"


@given(st.lists(st.sampled_from(["a", "dog", "barks"]), max_size=12))
def test_removing_repeats_adds_no_words(words: list[str]) -> None:
    kept = remove_repeats(" ".join(words)).split()
    assert len(kept) <= len(words)
    assert set(kept) == set(words)


def test_statistics_are_those_of_the_paper() -> None:
    found = Statistics.of([(Fraction(10), "A dog barks. It rains."), (Fraction(20), "A car."), (Fraction(5), "")])
    assert (found.clips, found.hours, found.sentences, found.words) == (2, 30 / 3600, 1.5, 3.5)
    assert Statistics.of([]) == Statistics(0, 0.0, 0.0, 0.0)
    assert split_sentences("One. Two! - Three?") == ["One.", "Two!", "- Three?"]


def test_labels_are_alternatives_and_those_of_the_picture_decide_the_prompt(clip: VideoClip) -> None:
    seen = Fixed((Caption("rain", 0.9), Caption("wind", 0.6), Caption("fire", 0.5)), has_labels=True)
    heard = Fixed((Caption("typing", 0.99),), has_labels=True)
    found = Annotator(seen, heard).annotate(clip)
    assert found.description == "Perhaps in the picture: rain or wind. Perhaps in the sound: typing."
    assert found.prompt == "rain"
    assert Annotator(Fixed((), has_labels=True), heard).annotate(clip).prompt == "typing"
    assert Annotator(seen, Fixed((Caption("a keyboard is used"),))).annotate(clip).prompt == "A keyboard is used"


def test_a_language_model_writes_the_sentences(clip: VideoClip) -> None:
    seen, heard = Fixed((Caption("dog grass"),)), Fixed((Caption("barking"),))
    found = Annotator(seen, heard, Answering("a dog barks on the grass")).annotate(clip)
    assert found.picture == found.sound == found.description == "A dog barks on the grass."
    assert not found.notes


@pytest.mark.parametrize("answer", ["", "word " * 200])
def test_an_unusable_answer_leaves_the_captions(clip: VideoClip, answer: str) -> None:
    found = Annotator(Fixed((Caption("a dog"),)), Fixed((Caption("barking"),)), Answering(answer)).annotate(clip)
    assert found.description == "A dog. Barking."
    assert len(found.notes) == 3


def test_clips_without_sound_or_captions_are_described_by_what_is_known(clip: VideoClip, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    with av.open(str(silent), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    found = Annotator(Fixed((Caption("a wall"),)), Fixed((Caption("never asked"),))).annotate(VideoClip(silent))
    assert (found.description, found.prompt) == ("A wall.", "A wall")
    assert found.notes == ("The clip has no sound.",)
    nothing = Annotator(Fixed((Caption("..."),)), None).annotate(clip)
    assert (nothing.description, nothing.prompt) == ("", "")


def test_models_of_transformers_caption_and_write(clip: VideoClip, tmp_path: Path) -> None:
    picture = PictureCaptioner(write_image_to_text_model(tmp_path / "blip2"), "cpu")
    sound = SoundCaptioner(write_audio_to_text_model(tmp_path / "whisper"), "cpu")
    language = LocalLanguageModel(write_language_model(tmp_path / "llama"), "cpu")
    seen, heard = picture.caption(clip, None), sound.caption(clip, None)
    assert len(seen) == 4
    assert len(heard) == 1
    assert picture.caption(clip, None) == seen
    assert language.answer("Say it.", "a dog", None) == language.answer("Say it.", "a dog", None)
    found = Annotator(picture, sound, language).annotate(clip)
    assert found.picture_captions or "Nothing known matches the picture." in found.notes
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Cancelled):
        language.answer("Say it.", "a dog", stopped)


def test_folders_of_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="contains no language model"):
        LocalLanguageModel(tmp_path, "cpu")
    folder = write_language_model(tmp_path / "llama")
    with pytest.raises(PackError, match=r"image-to-text model in .* cannot be loaded"):
        PictureCaptioner(folder, "cpu")
    (weights,) = folder.glob("*.safetensors")
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(PackError, match=r"language model in .* cannot be loaded"):
        LocalLanguageModel(folder, "cpu")


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, object]], list[bytes]]]:
    """Address of a language server, the requests it gets, and the bodies that it answers, the last one repeatedly."""
    requests: list[dict[str, object]] = []
    answers = [json.dumps({"choices": [{"message": {"content": "A dog barks."}}]}).encode()]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append({"path": self.path, **json.loads(body)})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answers[0] if len(answers) == 1 else answers.pop(0))

        def log_message(self, *_: object) -> None:
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", requests, answers
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def test_a_language_server_is_asked_with_the_interface_of_openai(
    server: tuple[str, list[dict[str, object]], list[bytes]],
) -> None:
    url, requests, answers = server
    language = LanguageServer(url, "small")
    assert language.answer("Rewrite this.", "dog bark", None) == "A dog barks."
    assert requests[0]["path"] == "/v1/chat/completions"
    assert requests[0]["model"] == "small"
    assert requests[0]["messages"] == [
        {"role": "system", "content": "Rewrite this."},
        {"role": "user", "content": "dog bark"},
    ]
    for nonsense in (b"", b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}'):
        answers[:] = [nonsense]
        with pytest.raises(LanguageServerError, match="gave an unreadable answer"):
            language.answer("Rewrite this.", "dog bark", None)


def test_a_server_that_hangs_or_is_away_is_an_error() -> None:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        with pytest.raises(LanguageServerError, match="does not answer"):
            LanguageServer(url, "small", timeout_s=0.2).answer("a", "b", None)
    with pytest.raises(LanguageServerError, match="does not answer"):
        LanguageServer(url, "small", timeout_s=5).answer("a", "b", None)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://127.0.0.1/v1", "http://", "http://[::1", "http://a:b@[::1]/v1"]
)
def test_invalid_addresses_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="is not valid"):
        LanguageServer(url, "small", may_be_remote=True)


def test_another_computer_is_contacted_only_on_request() -> None:
    for url in ("http://example.com/v1", "http://192.168.1.2:8080/v1", "http://localhost.example.com/v1"):
        with pytest.raises(SettingsError, match="is on another computer"):
            LanguageServer(url, "small")
        LanguageServer(url, "small", may_be_remote=True)
    for url in ("http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"):
        LanguageServer(url, "small")
