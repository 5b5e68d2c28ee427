"""Smaller runs of the engine: installing and removing models, asking for the devices."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from modality_conversion.progress import Progress

from . import settings
from .process import EngineProcess
from .run import Run, Steps
from .workspace import Workspace


class EngineTask(Run):
    """One command of the engine that speaks in lines of JSON; its outcome is the result."""

    def __init__(
        self,
        words: Sequence[str],
        on_progress: Callable[[Progress], None] | None = None,
        on_end: Callable[[Any], None] | None = None,
    ) -> None:
        self._words = words
        super().__init__(on_progress, on_end)

    def steps(self) -> Steps:
        """Run the command."""
        with Workspace() as folder:
            words = [*self._words, "--progress", "json", "--stop-with-parent"]
            with EngineProcess(words, folder) as process:
                return (yield from self.listen(process))


class DeviceQuery(Run):
    """Asks the engine for its devices; the outcome is a list of dictionaries as `devices --json` prints them."""

    def steps(self) -> Steps:
        """Run the command."""
        with Workspace() as folder, EngineProcess(["devices", "--json", "--stop-with-parent"], folder) as process:
            while process.is_running:
                yield False
            text = process.finish_text()
            return json.loads(text[text.index("[") :]) if "[" in text else []


def install_words(origin: str, sha256: str = "", replace: bool = False) -> list[str]:
    """The command that installs a model from a folder, a zip file or a URL."""
    words = ["models", "install", origin, "--models-dir", str(settings.models_dir())]
    words += ["--sha256", sha256] if sha256 else []
    return words + (["--replace"] if replace else [])


def remove_words(id: str) -> list[str]:
    """The command that removes a model from the user's folder."""
    return ["models", "remove", id, "--models-dir", str(settings.models_dir())]
