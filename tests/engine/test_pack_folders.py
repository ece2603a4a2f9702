"""Packs: search order, reading, and errors for damaged packs."""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from rewas_engine import PackError, ReWaS, installed_packs
from rewas_engine.packs.components import save_component
from rewas_engine.packs.description import find_pack, read_pack, verify_files, write_description
from rewas_engine.recipes.untrained_make_an_audio import write_untrained_make_an_audio


@pytest.fixture
def pack(tiny_pack: Path, tmp_path: Path) -> Path:
    """A copy of the tiny pack that tests may damage."""
    return Path(shutil.copytree(tiny_pack, tmp_path / "mine"))


def _edit(pack: Path, change) -> None:
    path = pack / "pack.toml"
    document = tomllib.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(tomli_w.dumps(document), "utf-8")


def test_a_complete_pack_is_described(pack: Path) -> None:
    description = read_pack(pack)
    verify_files(description)
    info = description.info
    assert (info.sample_rate_hz, info.controls, info.path) == (16_000, ("energy",), pack)
    assert info.licence
    assert info.permits
    on_disk = {found.relative_to(pack).as_posix() for found in pack.rglob("*") if found.is_file()}
    assert set(description.files) == on_disk - {"pack.toml", "README.md"}
    assert "denoiser/model.safetensors" in description.files


def test_a_pack_can_say_which_kinds_of_sound_it_knows(pack: Path) -> None:
    before = read_pack(pack).info
    assert before.kinds == ()
    _edit(pack, lambda document: document.update(kinds=["rain", "thunder", "a kind of a later version"]))
    after = read_pack(pack).info
    assert after.kinds == ("rain", "thunder", "a kind of a later version")
    # They describe the pack, but do not change its sounds.
    assert after.content_sha256 == before.content_sha256


@pytest.mark.parametrize("kinds", ["rain", 27, [1, 2]])
def test_kinds_that_are_no_names_are_refused(kinds: object, pack: Path) -> None:
    _edit(pack, lambda document: document.update(kinds=kinds))
    with pytest.raises(PackError, match=r"mine is damaged.*kinds is not a list of names"):
        read_pack(pack)


@pytest.mark.parametrize("name", ["nowhere", "../nowhere", "", "mine/x"])
def test_a_missing_pack_is_named(name: str) -> None:
    with pytest.raises(PackError, match="pack") as caught:
        ReWaS.from_pretrained(name)
    assert name in caught.value.what
    assert caught.value.remedy


def test_a_missing_file_is_named(pack: Path) -> None:
    (pack / "codec" / "model.safetensors").unlink()
    with pytest.raises(PackError, match=r"mine is damaged: codec/model.safetensors is missing"):
        ReWaS.from_pretrained(pack)


def test_a_changed_byte_is_detected(pack: Path) -> None:
    path = pack / "phi" / "model.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(PackError, match=r"mine is damaged: phi/model.safetensors is not the original file"):
        ReWaS.from_pretrained(pack)


@pytest.mark.parametrize("content", [b"format = ", b"\xff\xff", b"", b"format = 'one'", b"format = 0"])
def test_a_broken_description_is_refused(content: bytes, pack: Path) -> None:
    (pack / "pack.toml").write_bytes(content)
    with pytest.raises(PackError, match=r"mine is damaged: pack.toml"):
        read_pack(pack)


@pytest.mark.parametrize(("field", "value"), [("sample_rate_hz", 22_050), ("hop_samples", 200), ("bins", 80)])
@pytest.mark.parametrize("vocoder", ["SpectralVocoder", "SpeechT5HifiGan"])
def test_an_audio_format_unlike_the_vocoders_is_refused(
    vocoder: str, field: str, value: int, pack: Path, tmp_path: Path
) -> None:
    if vocoder == "SpeechT5HifiGan":
        pack = write_untrained_make_an_audio(tmp_path / "theirs")
        value = {"hop_samples": 160, "bins": 64}.get(field, value)
    description = read_pack(pack)
    assert description.components["vocoder"] == vocoder
    verify_files(description)
    _edit(pack, lambda document: document["audio"].update({field: value}))
    settings = description.audio[field]
    message = (
        rf"audio.{field} is {value} in pack.toml, but its vocoder was trained for {settings} "
        r"\(.* in vocoder/config.json"
    )
    with pytest.raises(PackError, match=message):
        verify_files(read_pack(pack))
    with pytest.raises(PackError, match=message):
        ReWaS.from_pretrained(pack)


def test_a_newer_format_suggests_an_update(pack: Path) -> None:
    _edit(pack, lambda document: document.update(format=2))
    with pytest.raises(PackError, match="has format 2, but this version reads formats only up to 1") as caught:
        ReWaS.from_pretrained(pack)
    assert "Update" in caught.value.remedy


@pytest.mark.parametrize(
    "key", ["name", "licence", "controls", "components", "audio", "window", "sampling", "picture", "files", "format"]
)
def test_a_missing_key_is_refused(key: str, pack: Path) -> None:
    _edit(pack, lambda document: document.pop(key))
    with pytest.raises(PackError, match="mine is damaged"):
        read_pack(pack)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("components", "vocoder"),
        ("components", "text_encoder"),
        ("audio", "sample_rate_hz"),
        ("window", "patch"),
        ("sampling", "num_steps"),
        ("sampling", "eta"),
        ("picture", "frame_rate"),
        ("picture", "overlap_frames"),
    ],
)
def test_a_missing_entry_is_found_when_loading(table: str, key: str, pack: Path) -> None:
    _edit(pack, lambda document: document[table].pop(key))
    with pytest.raises(PackError, match=rf"mine is damaged.*{key}"):
        read_pack(pack)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("audio", "bins", "many"),
        ("audio", "colour", 3),
        ("audio", "sample_rate_hz", "fast"),
        ("window", "frames", "long"),
        ("window", "patch", 0),
        ("sampling", "num_steps", "few"),
        ("picture", "frame_rate", "often"),
        ("picture", "window_frames", 0),
    ],
)
def test_an_invalid_value_is_refused(table: str, key: str, value: object, pack: Path) -> None:
    _edit(pack, lambda document: document[table].update({key: value}))
    with pytest.raises(PackError, match=r"The pack (mine|tiny) is damaged"):
        ReWaS.from_pretrained(pack)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "codec/../../secret"])
def test_files_outside_the_folder_are_not_read(name: str, pack: Path) -> None:
    (pack.parent / "secret").write_text("x")
    _edit(pack, lambda document: document["files"].update({name: "0" * 64}))
    with pytest.raises(PackError, match="a file outside its folder"):
        ReWaS.from_pretrained(pack)


@pytest.mark.parametrize("role", ["../secret", "/etc", "a/b", ".."])
def test_component_roles_are_folders_of_the_pack(role: str, pack: Path) -> None:
    _edit(pack, lambda document: document["components"].update({role: "Phi"}))
    with pytest.raises(PackError, match="mine is damaged"):
        read_pack(pack)


def test_a_component_without_file_hashes_is_refused(pack: Path) -> None:
    _edit(pack, lambda document: document["files"].pop("vocoder/model.safetensors"))
    with pytest.raises(PackError, match=r"mine is damaged.*vocoder/model.safetensors"):
        ReWaS.from_pretrained(pack)


def test_an_unknown_class_suggests_an_update(pack: Path) -> None:
    _edit(pack, lambda document: document["components"].update(phi="BetterPhi"))
    with pytest.raises(PackError, match="BetterPhi"):
        ReWaS.from_pretrained(pack)


def test_the_first_folder_of_the_search_path_wins(
    tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shelf in ("one", "two"):
        (tmp_path / shelf).mkdir()
    for shelf, name in (("one", "alpha"), ("two", "alpha"), ("two", "beta"), ("two", "starter")):
        (tmp_path / shelf / name).mkdir()
        shutil.copy(tiny_pack / "pack.toml", tmp_path / shelf / name)
    (tmp_path / "one" / "broken").mkdir()
    (tmp_path / "one" / "broken" / "pack.toml").write_text("no", "utf-8")
    (tmp_path / "one" / "no pack").mkdir()
    monkeypatch.setenv("REWAS_PACKS", os.pathsep.join([str(tmp_path / "one"), "", "/nowhere", str(tmp_path / "two")]))
    found = {pack.name: pack for pack in installed_packs()}
    assert next(iter(found)) == "starter"
    assert found["alpha"].path == tmp_path / "one" / "alpha" == find_pack("alpha")
    assert found["beta"].path == tmp_path / "two" / "beta"
    assert found["beta"].problem is None
    assert found["starter"].path == tmp_path / "two" / "starter"
    assert "no pack" not in found
    assert found["broken"].info is None
    assert isinstance(found["broken"].problem, PackError)
    with pytest.raises(PackError, match="'gamma' is not installed") as caught:
        find_pack("gamma")
    assert "alpha" in caught.value.remedy


def test_writing_a_description_hashes_every_file(tmp_path: Path) -> None:
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "a.bin").write_bytes(b"abc")
    (tmp_path / "README.md").write_text("later", "utf-8")
    write_description(tmp_path, {"name": "x"})
    document = tomllib.loads((tmp_path / "pack.toml").read_text("utf-8"))
    assert document["files"] == {"codec/a.bin": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert [found.name for found in tmp_path.glob("*.partial")] == []


def test_an_existing_pack_is_not_overwritten(tiny_pack: Path) -> None:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    with pytest.raises(PackError, match="already exists"):
        write_untrained_pack(tiny_pack)


def test_listing_packs_imports_no_torch() -> None:
    code = "import sys, rewas_engine; rewas_engine.installed_packs(); sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_the_fingerprint_depends_on_the_files(tiny_pack: Path) -> None:
    read = read_pack(tiny_pack)
    assert len(read.fingerprint) == 64
    turned = replace(read, files=dict(reversed(list(read.files.items()))), sampling={})
    assert turned.fingerprint == read.fingerprint
    name = next(iter(read.files))
    assert replace(read, files={**read.files, name: "0" * 64}).fingerprint != read.fingerprint
    assert replace(read, files={**read.files, "more": "0" * 64}).fingerprint != read.fingerprint


def test_weights_have_the_permissions_of_the_folder(tiny_pack: Path, tmp_path: Path) -> None:
    phi = ReWaS.from_pretrained(tiny_pack, device="cpu")._components["phi"]
    for mode, expected in ((0o755, 0o644), (0o700, 0o600)):
        (tmp_path / f"{mode:o}" / "phi").mkdir(parents=True)
        (tmp_path / f"{mode:o}" / "phi").chmod(mode)
        save_component(phi, tmp_path / f"{mode:o}", "phi")
        assert (tmp_path / f"{mode:o}" / "phi" / "model.safetensors").stat().st_mode & 0o777 == expected
