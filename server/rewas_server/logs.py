"""The server's log: lines for people on standard error, and JSON lines in a rotated file.

All processes of a server write to one file, through the front process: the worker and other children write their
records to standard error, one JSON object per line after an ASCII record separator (RFC 7464), and `forward_output`
adds them to the log. A file that is rotated can have only one writer, and what a library or the interpreter prints
while a child crashes ends up in the same place.

Prompts, tokens and the content of media stay out of the log. Messages do not contain them, the texts that
`LogPrivacy.hide` has registered are replaced if they appear nevertheless, and the text of an unexpected exception,
which may quote a request, is left out. `--log-prompts` turns all of this off.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import logging.handlers
import os
import re
import sqlite3
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from google.protobuf import text_encoding

LOG_FILE_NAME = "server.jsonl"
RECORD_SEPARATOR = "\x1e"
HIDDEN = "[hidden]"
MIN_HIDDEN_CHARACTERS = 3
"""Shorter prompts are left: replacing every "a" would make the log unreadable."""
MAX_LINE_CHARACTERS = 16_384
_READ_BYTES = 65_536
_WORD = re.compile(r"\w+")
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_SAFE_ERRORS = (OSError, sqlite3.Error, MemoryError, ImportError, asyncio.CancelledError)
"""Their texts come from the system, the database or the interpreter, not from a request."""

client_of_call: contextvars.ContextVar[str] = contextvars.ContextVar("client_of_call", default="")
"""The client whose call is being handled, for the field `client` of its records."""


@dataclass(frozen=True)
class _Hidden:
    """A hidden text.

    Attributes:
        folded: The text, case-folded.
        length: Of the text.
        word_offset: Where its first word begins.
    """

    folded: str
    length: int
    word_offset: int

    @classmethod
    def of(cls, text: str) -> _Hidden:
        word = _WORD.search(text)
        return cls(text.casefold(), len(text), 0 if word is None else word.start())

    def match(self, text: str, start: int) -> tuple[int, int] | None:
        """Return where the hidden text begins and ends in a text, if it begins here as whole words."""
        end = start + self.length
        if start < 0 or text[start:end].casefold() != self.folded:
            return None
        before, after = text[start - 1 : start], text[end : end + 1]
        return None if _WORD.match(before) or _WORD.match(after) else (start, end)

    def find_all(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the hidden text begins and ends in a text, however often."""
        for start in range(len(text)):
            span = self.match(text, start)
            if span is not None:
                yield span


class LogPrivacy:
    """Keeps private texts out of the log.

    log_prompts: Whether everything may be logged.
    """

    def __init__(self, log_prompts: bool = False) -> None:
        self.log_prompts = log_prompts
        self._texts: dict[str, frozenset[str]] = {}
        # By the first word: thousands of texts may be hidden, and each line is searched for all of them.
        self._by_word: defaultdict[str, Counter[_Hidden]] = defaultdict(Counter)
        self._lock = threading.Lock()

    def hide(self, owner: str, texts: Iterable[str]) -> None:
        """Hide these texts until `release(owner)`. owner: for example, the id of a job."""
        hidden = frozenset(form for text in texts if len(text) >= MIN_HIDDEN_CHARACTERS for form in _forms(text))
        if self.log_prompts or not hidden:
            return
        with self._lock:
            self._remove(owner)
            self._texts[owner] = hidden
            for each in hidden:
                self._by_word[_first_word(each)][_Hidden.of(each)] += 1

    def release(self, owner: str) -> None:
        """Stop hiding the texts of this owner."""
        with self._lock:
            self._remove(owner)

    def _remove(self, owner: str) -> None:
        for each in self._texts.pop(owner, ()):
            word, hidden = _first_word(each), _Hidden.of(each)
            self._by_word[word][hidden] -= 1
            if not self._by_word[word][hidden]:
                del self._by_word[word][hidden]
            if not self._by_word[word]:
                del self._by_word[word]

    def clean(self, text: str) -> str:
        """Replace the hidden texts in a text."""
        with self._lock:
            spans = sorted(self._find(text))
        parts, shown_to = [], 0
        for start, end in spans:
            # Texts may overlap, or contain each other.
            if start >= shown_to:
                parts += [text[shown_to:start], HIDDEN]
            shown_to = max(shown_to, end)
        return "".join([*parts, text[shown_to:]])

    def _find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where hidden texts begin and end."""
        for hidden in self._by_word.get("", ()):
            yield from hidden.find_all(text)
        for word in _WORD.finditer(text) if self._by_word else ():
            for hidden in self._by_word.get(word.group().casefold(), ()):
                span = hidden.match(text, word.start() - hidden.word_offset)
                if span is not None:
                    yield span

    def describe_exception(self, error: BaseException) -> str:
        """Return a traceback, without the texts of exceptions that may quote a request."""
        if self.log_prompts:
            return "".join(traceback.format_exception(error)).rstrip()
        parts = []
        for each in _chain(error):
            kind = f"{type(each).__module__}.{type(each).__qualname__}"
            text = f": {each}" if isinstance(each, _SAFE_ERRORS) else ""
            frames = "".join(traceback.format_tb(each.__traceback__))
            parts.append(f"Traceback (most recent call last):\n{frames}{kind}{text}")
        return self.clean("\n\n".join(parts))


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON. process: "server", or the name of the child that it comes from."""

    def __init__(self, privacy: LogPrivacy, process: str = "server") -> None:
        super().__init__()
        self._privacy = privacy
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": format_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "process": getattr(record, "process_name", self._process),
            "pid": getattr(record, "child_pid", record.process),
            "message": _short(self._privacy.clean(record.getMessage())),
        }
        for name in ("job_id", "client"):
            value = getattr(record, name, "")
            if value:
                fields[name] = value
        exception = _exception_text(record, self._privacy)
        if exception:
            fields["exception"] = exception
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Formats a record for people. coloured: whether the terminal shows colours."""

    def __init__(self, privacy: LogPrivacy, *, coloured: bool) -> None:
        super().__init__()
        self._privacy = privacy
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<7}"
        if self._coloured:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        message = _printable(_short(self._privacy.clean(record.getMessage())))
        job_id = getattr(record, "job_id", "")
        owner = f" [job {job_id[:8]}]" if job_id else ""
        line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {level} {message}{owner}"
        exception = _exception_text(record, self._privacy)
        return f"{line}\n{exception}" if exception else line


class PrivateRotatingFile(logging.handlers.RotatingFileHandler):
    """A rotated log file that only its owner can read. A full disk loses records, never the server."""

    def __init__(self, path: Path, max_bytes: int, file_count: int) -> None:
        self._has_warned = False
        super().__init__(path, maxBytes=max_bytes, backupCount=max(1, file_count - 1), encoding="utf-8")

    def _open(self) -> IO[Any]:  # type: ignore[override]
        def open_private(path: str, flags: int) -> int:
            descriptor = os.open(path, flags, 0o600)
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
            return descriptor

        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=open_private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the base class
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | ValueError):
            super().handleError(record)
        elif not self._has_warned:
            self._has_warned = True
            with contextlib.suppress(OSError):
                sys.stderr.write(f"The log {self.baseFilename} cannot be written ({error}). Records are lost.\n")


@contextlib.contextmanager
def log_to_file(path: Path, privacy: LogPrivacy, *, max_bytes: int, file_count: int, level: str) -> Iterator[None]:
    """Within, add the records of all loggers to a file.

    Args:
        path: The file. Its folder is created.
        privacy: What stays out of the log.
        max_bytes: Size at which the file is renamed to *.1, *.1 to *.2, and so on.
        file_count: Number of files that are kept, at least 2.
        level: Lowest level of the records of ReWaS, such as "INFO". Libraries log from WARNING.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = PrivateRotatingFile(path, max_bytes, file_count)
    handler.setFormatter(JsonFormatter(privacy))
    handler.addFilter(_add_client)
    root, own = logging.getLogger(), logging.getLogger("rewas")
    level_before = own.level
    root.addHandler(handler)
    own.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        own.setLevel(level_before)
        handler.close()


def log_to_terminal(privacy: LogPrivacy) -> None:
    """Print the records of all loggers to standard error, in colour if that is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    handler.setFormatter(TextFormatter(privacy, coloured=coloured))
    logging.getLogger().addHandler(handler)


def log_to_server(process: str, privacy: LogPrivacy, level: str = "INFO") -> None:
    """In a child process: send the records of all loggers, and unhandled exceptions, to the server by standard error.

    process: Name of the child, such as "worker".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ChildFormatter(privacy, process))
    logging.getLogger().addHandler(handler)
    logging.getLogger("rewas").setLevel(level)
    logger = logging.getLogger(f"rewas.{process}")

    # The interpreter would print the text of the exception, which may quote a request.
    def log_unhandled(error: BaseException | None) -> None:
        logger.critical("An unexpected error ends a thread or the process.", exc_info=error)

    sys.excepthook = lambda kind, error, trace: log_unhandled(error)
    threading.excepthook = lambda thread: log_unhandled(thread.exc_value)


@contextlib.contextmanager
def passing_on_records(send: Callable[[str], object], privacy: LogPrivacy) -> Iterator[None]:
    """Within the block, pass on the records of ReWaS from a process on another machine.

    They are the lines that `log_to_server` would write.

    send: Called with each line, in any thread. It may drop lines.
    """
    handler = _Sender(send)
    handler.setFormatter(_ChildFormatter(privacy, "worker"))
    logger = logging.getLogger("rewas")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def forward_output(output: asyncio.StreamReader, process: str, pid: int) -> None:
    """Log what a child process writes to standard error, until it closes it.

    Args:
        output: The pipe from the child's standard error.
        process: Name of the child, such as "worker".
        pid: Its process id.
    """
    forwarder = _Forwarder(process, pid)
    while chunk := await output.read(_READ_BYTES):
        forwarder.add(chunk)
    forwarder.end()


def forward_pipe(output: IO[bytes], process: str, pid: int) -> None:
    """Do the same as `forward_output` for an unbuffered pipe, and close it. Blocks; call it in a thread."""
    forwarder = _Forwarder(process, pid)
    with output, contextlib.suppress(OSError):
        while chunk := output.read(_READ_BYTES):
            forwarder.add(chunk)
    forwarder.end()


def format_time(seconds: float) -> str:
    """Return a time in UTC, to the millisecond. seconds: since 1970."""
    milliseconds = round(seconds * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}Z"


def private_texts(message: Any) -> Iterator[str]:
    """Yield the prompts in a message of the contract."""
    for field, value in message.ListFields():
        if field.message_type is None:
            if "prompt" in field.name:
                yield from [value] if isinstance(value, str) else map(str, value)
        elif not field.message_type.GetOptions().map_entry:
            for each in value if hasattr(value, "append") else [value]:
                yield from private_texts(each)


class _Forwarder:
    """Splits the output of a child into lines and logs them."""

    def __init__(self, process: str, pid: int) -> None:
        self._process = process
        self._pid = pid
        self._rest = b""

    def add(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            _log_line(line, self._process, self._pid)
        if len(self._rest) > 4 * MAX_LINE_CHARACTERS:
            self.end()

    def end(self) -> None:
        _log_line(self._rest, self._process, self._pid)
        self._rest = b""


class _Sender(logging.Handler):
    """Passes on formatted records."""

    def __init__(self, send: Callable[[str], object]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(self.format(record))


class _ChildFormatter(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return RECORD_SEPARATOR + super().format(record)


def _log_line(line: bytes, process: str, pid: int) -> None:
    text = line.decode("utf-8", "replace").rstrip()
    if not text:
        return
    attributes: dict[str, Any] = {"process_name": process, "child_pid": pid}
    name, level, message = f"rewas.{process}", logging.WARNING, text
    if text.startswith(RECORD_SEPARATOR):
        try:
            fields = json.loads(text.removeprefix(RECORD_SEPARATOR))
            name, level, message = str(fields["logger"]), logging.getLevelName(fields["level"]), str(fields["message"])
            attributes |= {key: str(fields[key]) for key in ("job_id", "client", "exception") if key in fields}
        except (ValueError, KeyError, TypeError):
            pass
    logger = logging.getLogger(name)
    if isinstance(level, int) and logger.isEnabledFor(level):
        attributes["exception_text"] = attributes.pop("exception", "")
        logger.log(level, "%s", message, extra=attributes)


def _add_client(record: logging.LogRecord) -> bool:
    if not getattr(record, "client", ""):
        record.client = client_of_call.get()
    return True


def _exception_text(record: logging.LogRecord, privacy: LogPrivacy) -> str:
    if record.exc_info and record.exc_info[1] is not None:
        return privacy.describe_exception(record.exc_info[1])
    return privacy.clean(getattr(record, "exception_text", ""))


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and those that led to it, the first cause first."""
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.insert(0, each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return chain


def _forms(text: str) -> frozenset[str]:
    """A text as it is, and as it appears in the representation of an object, in JSON and in the text of a message."""
    data = text.encode("utf-8", "surrogatepass")
    escaped = [repr(text)[1:-1], *(json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))]
    escaped += [text_encoding.CEscape(data, as_utf8=as_utf8) for as_utf8 in (True, False)]
    return frozenset({text, *escaped})


def _first_word(text: str) -> str:
    """Return the first word of a text, case-folded; "" if it has none."""
    word = _WORD.search(text)
    return "" if word is None else word.group().casefold()


def _short(text: str) -> str:
    return text if len(text) <= MAX_LINE_CHARACTERS else f"{text[:MAX_LINE_CHARACTERS]}…"


def _printable(text: str) -> str:
    """Replace control characters, which could move the cursor of a terminal or fake a line."""
    return "".join(each if each.isprintable() or each == "\t" else "�" for each in text)
