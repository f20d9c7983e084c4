"""Texts that would run, or break a page, if the page took them for anything but text."""

from typing import Final

HOSTILE: Final = (
    '<script>window.broken = "script"</script>',
    "<img src=x onerror=\"window.broken = 'img'\">",
    '"><svg onload="window.broken=\'svg\'">',
    "{@html '<b>x</b>'} ${window.broken = 'template'} {{constructor.constructor('window.broken=1')()}}",
    "javascript:window.broken='url'",
    "</textarea></title></style><iframe srcdoc=\"<script>top.broken='frame'</script>\">",
    "\u202egnirts txet desrever\u202c \u0430dm\u0456n " + "W" * 150,
)
