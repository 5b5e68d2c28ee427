"""A process that converts one case after the other: `python -m modality_conversion.batch.worker`.

Requests come as lines of JSON on standard input, answers go as lines of JSON to standard output: `{"done": true}` or
`{"error": "..."}`. It ends when its input does, be it because the run that started it was killed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ConversionError, in_words
from ..image_io import why_refused

_GRACE_S = 2.0


def main() -> None:
    """Work until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what a library prints must not stand among the answers
    os.dup2(nowhere, 2)
    requests: queue.Queue[str | None] = queue.Queue()
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        ended.set()
        requests.put(None)
        if not finished.wait(_GRACE_S):
            os._exit(1)

    finished = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    while (line := requests.get()) is not None:
        answers.write(json.dumps(answer(json.loads(line), ended.is_set)) + "\n")
        answers.flush()
    finished.set()


def answer(request: Mapping[str, Any], cancel: Callable[[], bool]) -> dict[str, object]:
    """Convert one case: `{"done": true}`, or why not as `{"error": "..."}`. Never raises."""
    from .job import do

    try:
        do(request, cancel)
    except ConversionError as error:
        return {"error": " ".join(str(error).split())}
    except OSError as error:
        return {"error": f"A file cannot be read or written: {why_refused(error)}."}
    except Exception as error:
        return {"error": in_words(error)}
    return {"done": True}


if __name__ == "__main__":
    main()
