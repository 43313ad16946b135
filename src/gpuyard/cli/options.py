"""The global options, as values: what was said before a command and after it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    as_json: bool = False
    quiet: bool = False
    no_color: bool = False
    url: str | None = None
    api_key: str | None = None

    def over(self, earlier: Options) -> Options:
        """What is given after the command adds to what was given before it."""
        return Options(
            as_json=self.as_json or earlier.as_json,
            quiet=self.quiet or earlier.quiet,
            no_color=self.no_color or earlier.no_color,
            url=self.url or earlier.url,
            api_key=self.api_key or earlier.api_key,
        )
