"""What the pages of the laboratory are served by: a token, limits, and a table of paths.

=======================  =======================================================================
`hardware.web.server`    who may ask (`WebServer`), and how requests are read (`WebHandler`)
`hardware.web.reading`   so many bytes, within so long
`hardware.web.token`     what clients show
=======================  =======================================================================
"""

from hardware.web.server import Refused, WebHandler, WebServer, is_loopback
from hardware.web.token import check_token, new_token, read_token

__all__ = [
    "Refused",
    "WebHandler",
    "WebServer",
    "check_token",
    "is_loopback",
    "new_token",
    "read_token",
]
