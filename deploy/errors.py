"""Errors that commands of several packages raise."""


class ServerUnavailableError(Exception):
    """A server is unavailable or too slow; the message names it and the reason in one line."""


class SourceError(Exception):
    """The retail data is not installed, or has an unexpected content; the message states what to do."""
