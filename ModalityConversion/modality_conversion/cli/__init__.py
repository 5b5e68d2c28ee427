"""The command line: `modality-conversion convert | segment | models | compare | lesions | bench | devices`."""

from __future__ import annotations

import io
import os
import sys
import traceback

from ..errors import Cancelled, ConversionError, in_words

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED = 0, 1, 2, 130


def main() -> None:
    """Run the command line and exit: 0 done, 1 refused or failed, 2 wrong usage, 130 cancelled."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path must not fail to be shown in an old code page
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run the command line on these arguments, or on the process's own; returns the exit code."""
    import typer

    try:
        from .app import app

        result = app(args=arguments, prog_name="modality-conversion", standalone_mode=False)
        if result == EXIT_CANCELLED:  # typer turns Ctrl-C into this, in silence
            raise KeyboardInterrupt
        return result if isinstance(result, int) else EXIT_DONE
    except typer.Exit as error:
        return error.exit_code
    except (Cancelled, KeyboardInterrupt, typer.Abort) as error:
        return _complain(str(error) or str(Cancelled()), EXIT_CANCELLED)
    except ConversionError as error:
        return _complain(str(error), EXIT_FAILED)
    except MemoryError as error:
        return _complain(in_words(error), EXIT_FAILED)
    except BrokenPipeError:
        # The reader of our output went away; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        # Wrong usage. Its class is click's in older versions of typer, and typer's own copy of it in newer ones.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        if os.environ.get("MODALITY_CONVERSION_DEBUG"):
            traceback.print_exc()
        return _complain(
            f"{in_words(error)} Set MODALITY_CONVERSION_DEBUG=1 to see where, and report it; what is then printed may quote "
            "the scan's header.",
            EXIT_FAILED,
        )


def _complain(message: str, code: int) -> int:
    sys.stderr.write(" ".join(message.split()) + "\n")
    return code
