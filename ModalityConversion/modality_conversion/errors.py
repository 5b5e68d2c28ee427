"""What can go wrong, in words for the person who has to put it right."""

from __future__ import annotations


class ConversionError(Exception):
    """Refused or failed. The message is one line: what was wrong, with which file or value, what to do."""


def in_words(error: BaseException) -> str:
    """An error for a person, on one line. Of a fault that nobody foresaw only the kind: its words may be a patient's."""
    if isinstance(error, MemoryError):
        return "There is not enough memory for this scan, or its header claims a size that it has not."
    if isinstance(error, (ConversionError, OSError)) or hasattr(error, "show"):  # the last is wrong usage
        return " ".join(str(error).split()) or type(error).__name__
    return f"An unexpected fault: {type(error).__name__}."


class Cancelled(ConversionError):
    """The caller asked to stop; nothing was written."""

    def __init__(self, message: str = "Cancelled; nothing was written.") -> None:
        super().__init__(message)


class OutOfMemory(ConversionError):
    """A device ran out of memory. The tile loop catches this and tries again with less."""


class ServerLost(ConversionError):
    """A server that was to run the network cannot be reached, has not got it ready, or stopped answering."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy}")
        self.reason = reason
        """The message without what to do, which matters less where another device takes over."""


class InvalidBundle(ConversionError):
    """A model folder that cannot be used. `faults` holds every reason, not only the first."""

    def __init__(self, message: str, faults: tuple = ()) -> None:
        super().__init__(message)
        self.faults = faults
