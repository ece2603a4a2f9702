"""Tables of the words of a library give every recording its own words when they are read again."""

from pathlib import Path

import numpy as np
import soundfile

from rewas_engine.recordings.caption_table import write_caption_table
from rewas_engine.recordings.library_pack import LibraryTerms, make_library
from rewas_engine.recordings.words import find_sound_files


def test_files_in_folders_of_one_name_keep_their_words(tmp_path: Path) -> None:
    folders = [tmp_path / number / "steps" for number in ("1", "2")]
    for seed, (folder, words) in enumerate(zip(folders, ("gravel", "snow"), strict=True)):
        folder.mkdir(parents=True)
        soundfile.write(folder / "x.wav", np.random.default_rng(seed).normal(0, 0.1, 32_000), 16_000)
        (folder / "x.txt").write_text(words)
    table = tmp_path / "table.csv"
    made = make_library(folders, tmp_path / "library", LibraryTerms(), lambda texts: np.ones((len(texts), 2)))
    write_caption_table(made.pack, table)
    for folder in folders:
        (folder / "x.txt").unlink()
    files, left_out = find_sound_files(folders, table)
    assert ([file.words for file in files], left_out) == (["gravel", "snow"], [])
