"""Finds the servers that Tidemark needs, or starts private ones; nothing outlives the command that asked.

``servers.provide()`` is the one door. Behind it: ``private`` (programs of this machine, in own folders and on own
ports), ``containers`` (a Docker engine), ``packages`` (the system's package manager). See ``servers`` for the order.
"""
