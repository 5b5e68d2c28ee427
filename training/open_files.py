"""How many files may be open: each packed case keeps a dozen, and many systems allow 1,024."""

from contextlib import suppress

ENOUGH = 1 << 16
"""For some five thousand cases."""


def allow_many_files() -> None:
    """Raise this process' limit as far as the system lets its user, to at most `ENOUGH`. Never raises."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (ENOUGH, 10240):  # macOS names no limit and allows less
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or most <= soft:
            return
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return
