"""A hook of mkdocs: links to files outside docs/ lead to the repository, on the site as they do on GitHub."""

import posixpath
import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """The page's markdown, with links such as `../../jobs/configs/demo.yaml` as addresses in the repository."""
    del files
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def absolute(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        return link[0] if target.startswith("docs/") else f"]({config.repo_url.rstrip('/')}/blob/main/{target})"

    return re.sub(r"\]\((\.\.?/[^)\s]+)\)", absolute, markdown)
