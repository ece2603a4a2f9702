"""Hooks of the site (mkdocs.yml): pages from outside docs/, links, sounds, and a check for external assets.

The pages can be read on a code host as well. There, a link leads to a file of the repository; on the site, it leads to
the page of that file, and becomes plain text if the site has no such page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES_FROM_ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "addon/README.md": "addon.md",
    "rewas_engine/data/packs/starter/README.md": "starter.md",
    "proto/rewas/v1/rewas.proto": "api/contract.md",
}
GENERATED_PAGES = {
    "api/engine.md": "# Engine API\n\nThe public interface of the package `rewas_engine`.\n\n::: rewas_engine\n",
    "api/client.md": (
        "# Client API\n\nThe Python client of the server, in the package `rewas_api`.\n\n"
        "::: rewas_api.client\n\n::: rewas_api.clip_settings\n\n::: rewas_api.errors\n"
    ),
    "api/contract.md": (
        "# Contract\n\nThe gRPC interface of the server, `proto/rewas/v1/rewas.proto`.\n\n```proto\n{contract}```\n"
    ),
}
LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
SOUND = re.compile(r"`(?P<generated>[\w-]+\.wav)`|\[[^\]]+\]\((?P<tracked>examples/[\w-]+\.wav)\)")
PLOT = re.compile(r"^Plot: `(?P<name>[\w-]+\.png)`$", re.MULTILINE)
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
EXTERNAL_ASSET = re.compile(
    r"<(?:script|img|audio|source|iframe)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|<link\b(?![^>]*\brel=[\"']?canonical)[^>]*\bhref=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|url\([\"']?(?:https?:)?//[^)]+\)|@import [\"'](?:https?:)?//[^\"']+",
    re.IGNORECASE,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for source, uri in PAGES_FROM_ELSEWHERE.items():
        if uri in GENERATED_PAGES:
            continue
        files.append(File.generated(config, uri, content=(ROOT / source).read_text(encoding="utf-8")))
    contract = (ROOT / "proto" / "rewas" / "v1" / "rewas.proto").read_text(encoding="utf-8")
    for uri, text in GENERATED_PAGES.items():
        files.append(File.generated(config, uri, content=text.replace("{contract}", contract)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to pages of the site, and play the sounds that have been generated."""
    del config, files
    uri = page.file.src_uri
    if uri in GENERATED_PAGES:
        return markdown
    source = {there: here for here, there in PAGES_FROM_ELSEWHERE.items()}.get(uri, f"docs/{uri}")
    markdown = PLOT.sub(_plot, SOUND.sub(_player, markdown))
    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(lambda match: _link(match, source, uri), part) for part in parts[::2]]
    return "".join(parts)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail if a page loads anything from the network."""
    found = [
        f"{path.relative_to(config.site_dir)}: {match.group()}"
        for path in Path(config.site_dir).rglob("*")
        if path.suffix in {".html", ".css"}
        for match in EXTERNAL_ASSET.finditer(path.read_text(encoding="utf-8"))
    ]
    if found:
        raise PluginError("The site loads assets from the network:\n" + "\n".join(found))


def _player(match: re.Match[str]) -> str:
    """A player for a sound of docs/examples.md, unless it is one that `make docs` has not generated yet."""
    place = match["tracked"] or f"generated/{match['generated']}"
    # The site's pages from docs/ lie next to each other, so the place in docs/ is the place relative to the page.
    return f'<audio controls preload="none" src="{place}"></audio>' if (DOCS / place).is_file() else match.group()


def _plot(match: re.Match[str]) -> str:
    """A plot of docs/examples.md, if `make docs` has generated it."""
    place = f"generated/{match['name']}"
    return f"![Log-mels and energies]({place})" if (DOCS / place).is_file() else match.group()


def _link(match: re.Match[str], source: str, uri: str) -> str:
    """A link of a file of the repository as a link of its page; the text alone where the site has no such page."""
    target, _, anchor = match["target"].partition("#")
    if not target or "://" in target or target.startswith("mailto:"):
        return match.group()
    path = os.path.normpath(Path(source).parent / target)
    page = PAGES_FROM_ELSEWHERE.get(path, path.removeprefix("docs/"))
    if page == path:
        return match["text"]
    place = os.path.relpath(page, Path(uri).parent or ".") + (f"#{anchor}" if anchor else "")
    return f"{match['image']}[{match['text']}]({place})"
