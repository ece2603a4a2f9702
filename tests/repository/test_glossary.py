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
# Git pathspecs of the files in which the phrases are banned. Model cards and labels in data are part of their release.
SCOPE = ("*.md", "*.py", "*.proto", "pyproject.toml", "addon/*.toml", "Makefile", ":!rewas_engine/data")
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


@cache
def texts_in_scope() -> dict[Path, str]:
    """The text of each file, without the signs of comments, which could split a phrase at the end of a line."""
    texts = {path: path.read_text(encoding="utf-8").replace(PLACEHOLDER, "") for path in tracked(*SCOPE)}
    return {path: re.sub(r"^[ \t]*#:?[ \t]?", "", text, flags=re.MULTILINE) for path, text in texts.items()}


def test_code_help_and_documents_are_in_scope() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in texts_in_scope()}
    assert {"README.md", "Makefile", "rewas_engine/pipeline.py", "addon/rewas_nle/blender/panels.py"} <= names
    assert {"server/rewas_cli/commands/generate.py", "proto/rewas/v1/rewas.proto"} <= names


@cache
def words_in_scope() -> dict[Path, str]:
    """The text of each file in lower case, with single spaces: a quick search that tells which files to look at."""
    return {path: " ".join(text.lower().split()) for path, text in texts_in_scope().items()}


@pytest.mark.parametrize(("phrase", "replacement"), PHRASES)
def test_a_banned_phrase_does_not_come_back(phrase: str, replacement: str) -> None:
    pattern, beginning = pattern_of(phrase), phrase.lower().split(" …")[0]
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()!r} -> {replacement}"
        for path, text in texts_in_scope().items()
        if beginning in words_in_scope()[path]
        for match in pattern.finditer(text)
    ]
    assert not found, "\n".join(found)
