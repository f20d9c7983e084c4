"""Errors that commands of several packages raise."""


class ServerUnavailableError(Exception):
    """A server is unavailable or too slow; the message names it and the reason in one line."""
