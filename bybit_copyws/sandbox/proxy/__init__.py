"""A byte-exact fault proxy: what a bad network does to TCP, on demand and the same every time.

::

    proxy      FaultProxy, what a user sees: arguments, life, one thread
    direction  Direction, the faults of one way as a user sets them
    task       what another thread asks for
    engine     the listening socket and the links, driven by one loop
    link       one connection: two sides and two lanes
    side       one socket
    target     where the connections go to
    lane       one way of one connection: which bytes may leave when; pure
    faults     what is set and what is armed; pure
    kernel     the two things that every system does in its own way
    checks     of what a user gives

Imports go down this list only. Everything below ``proxy`` runs in the one thread of the proxy.
"""

from bybit_copyws.sandbox.proxy.direction import Direction
from bybit_copyws.sandbox.proxy.link import ProxiedConnection
from bybit_copyws.sandbox.proxy.proxy import FaultProxy

__all__ = ["Direction", "FaultProxy", "ProxiedConnection"]
