"""Finds the servers that Tidemark needs, or starts private ones, which end with the command that started them.

``provide.provide()`` is the entry point. It uses ``private`` (programs of this machine, in folders and on ports of their
own), ``containers`` (a Docker engine) and ``packages`` (the system's package manager). See ``provide`` for the order.
"""
