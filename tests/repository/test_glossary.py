"""The glossary names existing identifiers, and no text contains a banned phrase."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
SOURCES = ("rewas_engine", "server", "proto", "addon")
# The placeholder of the prompt field speaks to the user, so it may use a banned phrase.
PLACEHOLDER = "What should be heard?"
# Git pathspecs of the files in which the phrases are banned.
SCOPE = ("*.md", ":!rewas_engine")
WORD = re.compile(r"[A-Za-z_]\w*")
ROW = re.compile(r"^\| (?P<term>[^|]+) \| (?P<meaning>[^|]+) \| (?P<identifiers>[^|]+) \|$", re.MULTILINE)
PHRASES = [
    tuple(part.strip() for part in line.split("->", 1))
    for line in Path(__file__).with_name("banned_phrases.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def tracked(*pathspecs: str) -> list[Path]:
    """The files that git tracks or would track, of these paths."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *pathspecs],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@cache
def words_of_the_code() -> frozenset[str]:
    paths = [path for path in tracked(*SOURCES) if path.suffix in {".py", ".proto"}]
    return frozenset(word for path in paths for word in WORD.findall(path.read_text(encoding="utf-8")))


def rows() -> list[tuple[str, list[str]]]:
    """The terms of the glossary with their identifiers."""
    page = GLOSSARY.read_text(encoding="utf-8")
    found = [(row["term"], re.findall(r"`([^`]+)`", row["identifiers"])) for row in ROW.finditer(page)]
    return [(term, identifiers) for term, identifiers in found if term != "Term"]


def pattern_of(phrase: str) -> re.Pattern[str]:
    """A phrase as a pattern: whole words, any white space, "…" for one to three words."""
    words = [r"\S+(?:\s+\S+){0,2}" if word == "…" else re.escape(word) for word in phrase.split()]
    return re.compile(r"(?<![\w-])" + r"\s+".join(words) + r"(?![\w-])", re.IGNORECASE)


def test_every_identifier_in_the_glossary_is_in_the_code() -> None:
    named = {identifier for _, identifiers in rows() for identifier in identifiers}
    assert len(named) > 40
    assert not sorted(named - words_of_the_code())


def test_each_term_is_explained_once() -> None:
    terms = [term for term, _ in rows()]
    assert len(terms) == len(set(terms))


@pytest.mark.parametrize(("phrase", "replacement"), PHRASES)
def test_a_banned_phrase_does_not_come_back(phrase: str, replacement: str) -> None:
    pattern = pattern_of(phrase)
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()!r} -> {replacement}"
        for path in tracked(*SCOPE)
        for text in [path.read_text(encoding="utf-8").replace(PLACEHOLDER, "")]
        for match in pattern.finditer(text)
    ]
    assert not found, "\n".join(found)
