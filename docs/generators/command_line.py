"""The pages `cli.md` and `errors.md`, made by the program itself."""

from __future__ import annotations

from keywright.cli.reference import cli_page, errors_page

FILES = {"docs/cli.md": cli_page, "docs/errors.md": errors_page}
