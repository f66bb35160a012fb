"""The directive ``findings``: a section for each entry of ``conformance/findings.toml``.

Texts, outputs and scripts are those that the suite runs again, with the versions of the libraries that are installed
where the page is made.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from uniopt.conformance.findings import Finding, findings


def section(finding: Finding) -> list[str]:
    """Return the Markdown of one finding."""
    version = finding.version()
    shown = f"{finding.library} {version}" if version else f"{finding.library}, which was not installed for this page"
    return [
        f"({finding.id})=",
        f"## {finding.title}",
        "",
        finding.text.strip(),
        "",
        f"- Seen with: {shown}",
        f"- Expected: {finding.expected}",
        f"- Shown again by: `uniopt conformance findings {finding.id}`",
        "",
        "```python",  # a lexer's name: the tests run the scripts from the file that they stand in
        finding.script.strip(),
        "```",
        "",
        "```text",
        finding.found.strip(),
        "```",
        "",
    ]


class Findings(SphinxDirective):
    """Write down all findings, library by library."""

    def run(self) -> list[Any]:
        lines = [line for finding in sorted(findings(), key=lambda f: f.library) for line in section(finding)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("findings", Findings)
    return {"parallel_read_safe": True}
