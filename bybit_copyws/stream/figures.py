"""What ``health()`` says of topics and their callbacks, and which of those run now."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bybit_copyws.health import StateHealth, TopicHealth
from bybit_copyws.policy.channel import Channel, Handler
from bybit_copyws.policy.registry import Registry
from bybit_copyws.state.status import Trusted
from bybit_copyws.stream.dispatcher import Deliverer
from bybit_copyws.stream.reports import Running, callback_name


def topics_health(registry: Registry, now: float) -> list[TopicHealth]:
    """Return how the topics of a registry are doing; ``now`` is monotonic."""
    return [
        _topic_health(channel, handler, now)
        for channel in registry.channels.values()
        for route in channel.routes
        for handler in route.handlers
    ]


def _topic_health(channel: Channel, handler: Handler, now: float) -> TopicHealth:
    return TopicHealth(
        topic=handler.topic.name,
        state=handler.state.value,
        callback=callback_name(handler.callback),
        calls=handler.calls,
        failures=handler.failures,
        seconds=handler.seconds,
        age=None if channel.last is None else now - channel.last[0],
        gap=None if channel.open_gap is None else channel.open_gap.reason,
        queue=None if handler.courier is None else handler.courier.figures(),
    )


def state_health(state: Trusted, now: float) -> StateHealth:
    """Return how something that is kept is doing; ``now`` is monotonic."""
    age = state.age(now)
    return StateHealth(
        status=state.status.value,
        reason=state.reason,
        age=None if math.isinf(age) else age,
    )


def running(delivery: Deliverer, handlers: Iterable[Handler]) -> list[Running]:
    """Return what runs of some handlers, in the run thread and in workers."""
    handlers = list(handlers)
    couriers = {each.courier for each in handlers}
    scopes = {each.topic.scope for each in handlers}
    found = [delivery.running, *(each.running for each in couriers if each is not None)]
    # A worker may serve topics of two connections.
    return [each for each in found if each is not None and each[0].topic.scope in scopes]
