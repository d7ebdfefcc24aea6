"""Messages of each channel, shortly made and shortly told."""

from bybit_copyws.policy.arbiter import TopicArbiter
from bybit_copyws.policy.identity import Arrival, rule_of

A, B, C = 1, 2, 3


def arbiter(channel, *lines, **limits):
    made = TopicArbiter(rule_of(channel), **limits)
    for line in lines:
        made.join(line)
    return made


def snapshot(u, ts=None):
    return Arrival("snapshot", u if ts is None else ts, {"u": u})


def delta(u, ts=None):
    return Arrival("delta", u if ts is None else ts, {"u": u})


def trades(*ids, ts=0):
    return Arrival("snapshot", ts, [{"i": each, "p": "1"} for each in ids], raw=b"all")


def ticker(cs, price="1", kind="delta", ts=0):
    return Arrival(kind, ts, {"lastPrice": price}, cs)


def liquidation(*sizes, ts=0):
    return Arrival("snapshot", ts, [{"T": 1, "v": each} for each in sizes])


def candle(start, time, close="1"):
    return Arrival("snapshot", time, [{"start": start, "timestamp": time, "close": close}])


def brief(passed):
    """Return what was passed, shortly, each after a ``!`` if there is a hole before it."""
    told = []
    for arrival, hole in passed:
        if hole:
            told.append("!")
        if isinstance(arrival.data, list):
            keys = ("i", "v", "timestamp")
            told += [next(entry[key] for key in keys if key in entry) for entry in arrival.data]
        elif "u" in arrival.data:
            told.append(f"{arrival.type[0]}{arrival.data['u']}")
        else:
            told.append(arrival.data["lastPrice"])
    return told


def feed(its, *deliveries):
    """Deliver (line, arrival) pairs and return, shortly, all that was passed."""
    return brief(
        [each for line, arrival in deliveries for each in its.take(line, arrival)]  #
    )


def leave(its, line):
    return brief(its.leave(line))
