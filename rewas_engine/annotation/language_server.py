"""A language model behind an OpenAI-compatible server, which is contacted only if its address is given."""

from __future__ import annotations

import http.client
import ipaddress
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from rewas_engine.errors import EngineError, SettingsError
from rewas_engine.runtime.progress import CancelSignal, raise_if_cancelled

MAX_ANSWER_BYTES = 1_000_000
MAX_NEW_TOKENS = 200
DEFAULT_TIMEOUT_S = 120.0


class LanguageServerError(EngineError):
    """The language server does not answer, or not as expected."""


@dataclass(frozen=True)
class LanguageServer:
    """A server with the path `/chat/completions`, such as llama.cpp, Ollama or vLLM.

    Attributes:
        url: Address up to the version, such as http://127.0.0.1:8080/v1.
        model: Name of the model on the server.
        may_be_remote: Whether the server may be on another computer. Descriptions of the clips are sent to it.
        timeout_s: How long to wait for an answer.

    Raises:
        SettingsError: The address is invalid, or on another computer although `may_be_remote` is False.
    """

    url: str
    model: str
    may_be_remote: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port_is_valid = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_is_valid = urlsplit(""), False
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid or parts.username:
            raise SettingsError(
                f"The language server's address {self.url!r} is not valid.", "Give one like http://127.0.0.1:8080/v1."
            )
        if not self.may_be_remote and not _is_this_computer(parts.hostname):
            raise SettingsError(
                f"The language server {parts.hostname} is on another computer.",
                "Use --allow-remote if it may read the descriptions of your clips.",
            )

    @property
    def name(self) -> str:
        """Name for reports."""
        return f"{self.model} at {urlsplit(self.url).hostname}"

    def answer(self, instruction: str, text: str, cancel: CancelSignal | None) -> str:
        """Follow an instruction about a text. Raises LanguageServerError, Cancelled."""
        raise_if_cancelled(cancel)
        request = {
            "model": self.model,
            "messages": [{"role": "system", "content": instruction}, {"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": MAX_NEW_TOKENS,
        }
        status, body = self._post(json.dumps(request).encode())
        try:
            content = json.loads(body)["choices"][0]["message"]["content"] if status == 200 else None
        except (ValueError, LookupError, TypeError):
            content = None
        if not isinstance(content, str):
            said = body[:200].decode("utf-8", "replace").strip()
            raise LanguageServerError(
                f"The language server {self.url} gave an unreadable answer (status {status}: {said!r}).",
                "Check its address and the name of the model.",
            )
        return content

    def _post(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; no redirect is followed. Returns the status and the body."""
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        assert parts.hostname is not None
        connection = kind(parts.hostname, parts.port, timeout=self.timeout_s)
        try:
            path = f"{parts.path.rstrip('/')}/chat/completions"
            connection.request("POST", path, request, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise LanguageServerError(
                f"The language server {self.url} does not answer ({reason}).", "Start it, or correct its address."
            ) from error
        finally:
            connection.close()


def _is_this_computer(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
