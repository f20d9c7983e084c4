"""Errors of finding or starting servers; every message states what to do next.

``ServersError``
├── ``PortTakenError``: another process took the port between its choice and the server's bind; another port is tried
└── ``ProgramMissingError``: a program is not installed; it may be installable
"""


class ServersError(Exception):
    """The servers cannot be provided; the message is one or two sentences for the operator."""


class PortTakenError(ServersError):
    """The server exited because its port was no longer free."""


class ProgramMissingError(ServersError):
    """A program that a private server needs is not installed."""
