"""A local exchange: both API generations on loopback, with a simulated market and account.

For bots and their tests. Nothing here talks to the network; the keys are throw-away values.
"""

from bybit_copyws.sandbox.sandbox import DEFAULT_SYMBOLS, Sandbox

__all__ = ["DEFAULT_SYMBOLS", "Sandbox"]
