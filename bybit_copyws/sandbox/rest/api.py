"""From a request to its reply: forced replies, bans, signature, limits, then the endpoint.

Changes the account and counts requests; knows neither sockets nor the clock.
"""

from __future__ import annotations

from bybit_copyws.sandbox.account import Account, Refused
from bybit_copyws.sandbox.market import Market
from bybit_copyws.wire.signing import Credentials

from .auth import check_signature
from .calls import Call
from .endpoints import ENDPOINTS, Endpoint
from .limits import AddressGate, KeyLimits
from .messages import Reply, Request, json_reply, text_reply
from .params import Params
from .rules import RestRules

_PATHS = frozenset(path for _, path in ENDPOINTS)


class RestApi:
    """The REST endpoints of both profiles over one market and one account.

    Not safe for threads: whoever calls it is the one who moves market and account. Bring the
    market to ``now_ms`` before a request, and push ``account.take_changes()`` after it.

    Args:
        market: The market, for the public endpoints.
        account: The account of the key.
        credentials: The only key that is known.
        rules: May change at any time.
    """

    def __init__(
        self,
        market: Market,
        account: Account,
        credentials: Credentials,
        rules: RestRules | None = None,
    ) -> None:
        self.rules = RestRules() if rules is None else rules
        self._market = market
        self._account = account
        self._credentials = credentials
        self.reset_limits()

    def reset_limits(self) -> None:
        """Forget all requests counted so far, and all bans."""
        self._key_limits = KeyLimits(self.rules)
        self._gate = AddressGate(self.rules)

    def knows(self, path: str) -> bool:
        """Return whether there is an endpoint of that path, whatever its method."""
        return path in _PATHS

    def handle(self, request: Request, now_ms: int, real_ms: int | None = None) -> Reply:
        """Answer one request.

        Args:
            request: Any request: an unknown path is answered too.
            now_ms: The time of the exchange.
            real_ms: The real time, if it is another: clients may sign by either.
        """
        forced = self.rules.take_forced(request)
        if forced is None:
            return self._answer(request, now_ms, real_ms)
        if forced.executed:
            self._answer(request, now_ms, real_ms)
        return forced.reply(now_ms)

    def _answer(self, request: Request, now_ms: int, real_ms: int | None) -> Reply:
        if not self._gate.admits(request.address, now_ms):
            return text_reply(403, "access too frequent")
        endpoint = ENDPOINTS.get((request.method, request.path))
        if endpoint is None:
            # Bybit has one code for an unknown path and for a wrong method.
            return json_reply(10017, "Route not found.", {}, now_ms, status=404)
        headers: dict[str, str] = {}
        try:
            if endpoint.auth:
                self._admit(endpoint, request, now_ms, real_ms, headers)
            call = Call(self._market, self._account, Params.of(request), now_ms)
            result = endpoint.function(call)
        except Refused as refusal:
            return json_reply(refusal.ret_code, refusal.ret_msg, {}, now_ms, headers=headers)
        return json_reply(0, endpoint.ok, result, now_ms, headers=headers)

    def _admit(
        self,
        endpoint: Endpoint,
        request: Request,
        now_ms: int,
        real_ms: int | None,
        headers: dict[str, str],
    ) -> None:
        """Check signature and limit of a request; add the headers of the limit.

        Raises:
            Refused: 10001 to 10004, see :func:`check_signature`; 10006, too many visits.
        """
        check_signature(request, self._credentials, now_ms, real_ms)
        key = self._credentials.api_key
        allowance = self._key_limits.admit(key, endpoint.group, now_ms)
        if allowance is None:
            return
        headers.update(allowance.headers())
        if not allowance.passed:
            raise Refused(10006, "Too many visits!")
