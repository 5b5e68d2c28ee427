"""What can go wrong, in words for the person who has to put it right."""

from __future__ import annotations


class ConversionError(Exception):
    """Refused or failed. The message is one line: what was wrong, with which file or value, what to do."""


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
