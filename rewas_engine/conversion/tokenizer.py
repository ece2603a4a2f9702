"""The tokenizer of RoBERTa, which the released checkpoints do not contain."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import RobertaTokenizerFast

from rewas_engine.errors import CheckpointError, PackError

FETCH_COMMAND = (
    "hf download FacebookAI/roberta-base vocab.json merges.txt tokenizer.json tokenizer_config.json "
    "--local-dir roberta-base"
)
"""Command that downloads the tokenizer."""
_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2}


def check_tokenizer(folder: Path | None, vocabulary: int) -> Path:
    """Return the folder of a tokenizer after checking that it fits the text encoder.

    Raises PackError if `folder` is None, and CheckpointError if it contains no tokenizer or a different one.
    """
    if folder is None:
        raise PackError(
            "The tokenizer of RoBERTa is missing: it is not part of the released checkpoints.",
            f"Give its folder with --tokenizer. To download it, run: {FETCH_COMMAND}",
        )
    whole = (folder / "tokenizer.json").is_file()
    if not whole and not ((folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()):
        found = "holds no tokenizer" if folder.is_dir() else "does not exist"
        raise CheckpointError(folder, found, "tokenizer.json, or vocab.json and merges.txt", f"Run: {FETCH_COMMAND}")
    try:
        tokenizer = RobertaTokenizerFast.from_pretrained(folder, local_files_only=True)
        special = {token: tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL}
        size = max(tokenizer.get_vocab().values()) + 1
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise CheckpointError(
            folder, f"cannot be read as a tokenizer ({error})", "the tokenizer of RoBERTa", f"Run: {FETCH_COMMAND}"
        ) from error
    if special != _SPECIAL or size > vocabulary:
        found = f"has {size} tokens with {special}"
        raise CheckpointError(
            folder, found, f"at most {vocabulary} with {_SPECIAL}, as in RoBERTa", f"Run: {FETCH_COMMAND}"
        )
    return folder


def copy_tokenizer(folder: Path, target: Path) -> None:
    """Copy the tokenizer's files into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
