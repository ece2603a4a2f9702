"""`make foley` makes a library from packages: given ones, or those that apt-get downloads from a repository on disk."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_archives import FontSample, c4group, soundfont

from rewas_engine.models.text import SentenceEncoder
from rewas_engine.recordings.choosing import choose
from rewas_engine.recordings.library_pack import LibraryTerms, make_library, read_library_pack

pytestmark = pytest.mark.skipif(
    not Path("/etc/debian_version").exists() and shutil.which("dpkg-deb") is None, reason="needs dpkg-deb"
)
SCRIPTS = Path(__file__).parents[2] / "scripts" / "foley"
RATE_HZ = 16_000
Foley = Callable[..., tuple[int, str, str]]


def burst(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.2, RATE_HZ // 2) * np.exp(-np.arange(RATE_HZ // 2) / 800)


def write_tree(folder: Path, name: str) -> None:
    """Write the files of one package, with few of its recordings."""
    if name == "sonic-pi-samples":
        place = folder / "usr/share/sonic-pi/samples"
        place.mkdir(parents=True)
        soundfile.write(place / "perc_door.flac", burst(1), RATE_HZ)
        soundfile.write(place / "unlisted.flac", burst(2), RATE_HZ)
    elif name == "openclonk-data":
        place = folder / "usr/share/games/openclonk"
        place.mkdir(parents=True)
        soundfile.write(folder / "thunder.ogg", burst(3), RATE_HZ)
        thunder = (folder / "thunder.ogg").read_bytes()
        (folder / "thunder.ogg").unlink()
        archive = {"Environment.ocg": {"Lightning.ocg": {"Thunder1.ogg": thunder}}}
        (place / "Sound.ocg").write_bytes(c4group(archive))
    else:
        place = folder / "usr/share/sounds/sf2"
        place.mkdir(parents=True)
        pcm = (20_000 * burst(4)).astype(np.int16)
        (place / "FluidR3_GS.sf2").write_bytes(soundfont([FontSample("Siren", pcm, RATE_HZ)]))


def write_deb(folder: Path, name: str, work: Path) -> Path:
    tree = work / name
    write_tree(tree, name)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(control(name), "utf-8")
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, file], check=True, capture_output=True)
    return file


def control(name: str) -> str:
    return f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@b.example>\nDescription: sounds\n"


@pytest.fixture
def foley(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Foley:
    """Run the script in this process, with its own home. Returns exit status, output and errors."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home" / name))
    monkeypatch.syspath_prepend(SCRIPTS)
    import make_foley

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["make_foley.py", *map(str, arguments)])
        capfd.readouterr()
        code = make_foley.main()
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


def library_folder(tmp_path: Path, name: str = "foley") -> Path:
    return tmp_path / "home" / "XDG_DATA_HOME" / "rewas" / "packs" / name


def test_a_library_is_made_from_given_packages(foley: Foley, tmp_path: Path) -> None:
    given = tmp_path / "given"
    write_deb(given, "sonic-pi-samples", tmp_path / "work")
    write_deb(given, "openclonk-data", tmp_path / "work")
    write_tree(given / "fluid-soundfont-gs_3.1", "fluid-soundfont-gs")
    code, output, errors = foley("--from", given)
    assert code == 0, errors
    assert "A library of 3 recordings" in output
    assert "The package blanket was not found, so 9 of the recordings are missing." in output
    pack = read_library_pack(library_folder(tmp_path))
    assert pack.terms.licence == "CC-BY-3.0 AND CC0-1.0 AND MIT"
    about = {each.path.name: (each.words, each.licence, each.credit) for each in pack.index.recordings}
    assert about == {
        "perc_door.flac": (
            "heavy door thud, deep boom in a hall", "CC0-1.0",
            "hullum (https://freesound.org/people/hullum/sounds/415579/), as changed for Sonic Pi",
        ),
        "Thunder1.ogg": (
            "thunder, lightning strike and rumble", "CC-BY-3.0",
            "xerana (https://freesound.org/people/xerana/sounds/199638/), as changed for OpenClonk",
        ),
        "Siren.wav": (
            "siren wailing, police car or ambulance", "MIT", "Frank Wen and contributors, Fluid (R3) SoundFont",
        ),
    }  # fmt: skip
    encoder = SentenceEncoder.default()
    asked = (("heavy door thud", "perc_door.flac"), ("thunder", "Thunder1.ogg"), ("police siren", "Siren.wav"))
    for prompt, name in asked:
        choice = choose(pack.index, prompt, encoder)
        assert choice.is_known
        assert pack.index.recordings[choice.recordings[0]].path.name == name
    (index,) = pack.path.glob("index-*/index.json")
    before = index.stat().st_mtime_ns
    assert foley("--from", given)[0] == 0
    assert index.stat().st_mtime_ns == before
    assert list((tmp_path / "home" / "XDG_CACHE_HOME").rglob("extracted-*")) == []


def test_packages_are_downloaded_once_without_root(
    foley: Foley, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, apt = tmp_path / "repository", tmp_path / "apt"
    file = write_deb(repository, "sonic-pi-samples", tmp_path / "work")
    digest, size = hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size
    entry = f"{control('sonic-pi-samples')}Filename: ./{file.name}\nSize: {size}\nSHA256: {digest}\n"
    (repository / "Packages").write_text(entry, "utf-8")
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n", "utf-8")
    settings = {
        "Dir::State": apt / "state", "Dir::State::status": apt / "status", "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list", "Dir::Etc::sourceparts": "-", "APT::Sandbox::User": "root",
    }  # fmt: skip
    (apt / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()), "utf-8")
    monkeypatch.setenv("APT_CONFIG", str(apt / "apt.conf"))
    code, _, errors = foley()
    assert code == 1
    assert "apt-get knows none of the packages. Load the package lists with: sudo apt-get update." in errors
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    code, output, errors = foley()
    assert code == 0, errors
    assert "Package 1 of 1: sonic-pi-samples_1.0_all.deb, 0.0 MB" in output
    assert len(read_library_pack(library_folder(tmp_path)).index.recordings) == 1
    file.unlink()
    assert foley()[0] == 0
    (tmp_path / "home/XDG_CACHE_HOME/rewas/foley/packages" / file.name).unlink()
    code, _, errors = foley()
    assert code == 1
    assert "apt-get could not download the package sonic-pi-samples." in errors


def test_one_sentence_says_what_to_download_on_other_systems(
    foley: Foley, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, output, errors = foley()
    assert (code, output) == (1, "")
    assert errors.startswith(
        "This system lacks apt-get and dpkg-deb, which Debian and Ubuntu use to get and extract packages."
    )
    assert "openclonk-data" in errors
    assert "make foley FROM=FOLDER" in errors
    given = tmp_path / "given"
    write_tree(given / "sonic-pi-samples", "sonic-pi-samples")
    assert foley("--from", given)[0] == 0
    (given / "openclonk-data_1.0_all.deb").touch()
    code, _, errors = foley("--from", given)
    assert code == 1
    assert "openclonk-data_1.0_all.deb cannot be extracted, because dpkg-deb is not installed." in errors


def test_packages_that_were_extracted_into_one_folder_are_used(foley: Foley, tmp_path: Path) -> None:
    write_tree(tmp_path / "root", "sonic-pi-samples")
    code, output, _ = foley("--from", tmp_path / "root")
    assert code == 0
    assert "more are left out" in output
    assert len(read_library_pack(library_folder(tmp_path)).index.recordings) == 1


def test_folders_and_packages_that_cannot_be_used_are_named(foley: Foley, tmp_path: Path) -> None:
    given = tmp_path / "given"
    assert foley("--from", given)[2] == f"The folder {given} does not exist. Give the folder of the packages.\n"
    given.mkdir()
    code, _, errors = foley("--from", given)
    assert code == 1
    assert errors.startswith(f"{given} contains none of the packages.")
    (given / "openclonk-data_1.0_all.deb").write_bytes(b"no package")
    code, _, errors = foley("--from", given)
    assert code == 1
    assert f"{given / 'openclonk-data_1.0_all.deb'} cannot be extracted (" in errors
    assert not library_folder(tmp_path).exists()


def test_a_library_of_other_recordings_is_not_replaced(foley: Foley, tmp_path: Path) -> None:
    own = tmp_path / "sounds"
    own.mkdir()
    soundfile.write(own / "own.wav", burst(5), RATE_HZ)
    encoder = SentenceEncoder.default()
    make_library(
        [own], library_folder(tmp_path), LibraryTerms(), lambda words: encoder(list(words)).numpy(), copies=True
    )
    write_tree(tmp_path / "root", "sonic-pi-samples")
    code, _, errors = foley("--from", tmp_path / "root")
    assert code == 1
    assert "The library foley has other recordings, such as own.wav. Choose another name with --output." in errors
    assert foley("--from", tmp_path / "root", "--output", "free")[0] == 0
    assert len(read_library_pack(library_folder(tmp_path, "free")).index.recordings) == 1
    assert len(read_library_pack(library_folder(tmp_path)).index.recordings) == 1
