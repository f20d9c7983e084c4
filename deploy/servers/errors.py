"""What can go wrong while servers are found or started: every message says what to do next.

``ServersError``
├── ``PortTakenError``: somebody else took the port between our choice and the server's bind; another one is tried
└── ``ProgramMissingError``: a program is not on this machine; it may be installable
"""


class ServersError(Exception):
    """The servers cannot be provided; the message is one plain sentence or two for the person at the terminal."""


class PortTakenError(ServersError):
    """The server ended because its port was not free any more."""


class ProgramMissingError(ServersError):
    """A program that a private server needs is not on this machine."""
