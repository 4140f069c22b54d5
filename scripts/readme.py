"""README as a package index shows it: links and pictures lead into the repository, if it has an address.

Set the address once, at release, in pyproject.toml: ``[project.urls] Repository = "https://…"``. Without
one, README stays as it is.

hatchling calls this hook. hatch-fancy-pypi-readme (25.1) takes an address only as a literal of each
substitution: it would need one today, and there is none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"(!\[[^\]]*\]\()(?!https?:)([^)\s]+\))")
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)\s]+\))")


def for_index(text: str, repository: str, version: str) -> str:
    """Return README with links to the files of this version.

    :param repository: its address; ``blob/<tag>/…`` is a file's page there, ``raw/<tag>/…`` its bytes.
    """

    def lead(part: str) -> str:
        for link, kind in (_PICTURE, "raw"), (_LINK, "blob"):
            part = link.sub(rf"\g<1>{repository.rstrip('/')}/{kind}/v{version}/\g<2>", part)
        return part

    return "".join(part if part.startswith("```") else lead(part) for part in _FENCE.split(text))


class ReadmeHook(MetadataHookInterface):
    """Sets ``readme``, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the text to the project's metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        if repository:
            text = for_index(text, repository, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
