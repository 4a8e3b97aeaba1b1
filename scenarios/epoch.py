"""When an episode starts, as users write it."""

from __future__ import annotations

from datetime import UTC, datetime

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def in_basilisk_format(epoch_utc: str) -> str:
    """A date and time of ISO 8601 as "2026 MAR 20 12:00:00.000 (UTC)", which Basilisk reads; any other text as it is.

    A time without an offset is UTC.
    """
    try:
        epoch = datetime.fromisoformat(epoch_utc)
        epoch = epoch.replace(tzinfo=UTC) if epoch.tzinfo is None else epoch.astimezone(UTC)
    except (ValueError, OverflowError):
        return epoch_utc
    digits = "milliseconds" if epoch.microsecond % 1000 == 0 else "microseconds"
    clock = epoch.time().isoformat(timespec=digits)
    return f"{epoch.year:04} {_MONTHS[epoch.month - 1]} {epoch.day:02} {clock} (UTC)"


def parsed(epoch_utc: str) -> datetime | None:
    """A date in Basilisk's format as UTC without tzinfo; None: it is not in that format."""
    try:
        return datetime.strptime(epoch_utc, "%Y %b %d %H:%M:%S.%f (UTC)")
    except ValueError:
        return None
