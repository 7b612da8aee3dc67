"""Requests that the cloud itself sends: deliveries of Cloud Tasks and Cloud Scheduler.

A request leaves this machine only if its host is allowed; one to an API of Google's comes back to
the plain port, and one to a Cloud Run service is handed to it in this process. Each is an entry of
the journal, and may be struck by a fault.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest, Send
from devenv.gcp.errors import CloudError
from devenv.gcp.fault_matchers import DELIVER
from devenv.gcp.faults import AnswerLost, Faults
from devenv.gcp.intercept.router import Hosts
from devenv.gcp.journal import OPEN, Journal, trace_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequests:
    """Sends requests by `send`; `here` is HOST:PORT of the plain port.

    `who` names the account of an Authorization header.
    """

    hosts: Hosts
    journal: Journal
    faults: Faults
    who: Callable[[str], str]
    send: Send
    here: str

    async def deliver(self, request: DeliveryRequest) -> DeliveryAnswer:
        """Send a request (a `Send`). Raises DeliveryFailed for a host that is not allowed."""
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        if not self.hosts.emulated(host) and not self.hosts.passed(host):
            raise DeliveryFailed(self.hosts.refusal(host))
        if host.endswith(".googleapis.com"):  # a schedule that runs a job, say
            here = parts._replace(scheme="http", netloc=self.here)
            request = replace(request, url=here.geturl())
        target = request.url.partition("?")[0]
        with self.journal.entry(DELIVER, request.url[:500]) as entry:
            headers = {name.lower(): value for name, value in request.headers.items()}
            entry.caller = self.who(headers.get("authorization", ""))
            entry.trace = trace_of(headers)
            try:
                async with self.faults.strike(entry) as fault:
                    if fault and fault.duplicate:
                        await self.send(request)
                    if fault and fault.reorder:
                        await self.faults.held.hold(target, fault.id, request.deadline)
                    try:
                        answer = await self.send(request)
                    finally:
                        self.faults.held.release_target(target)
            except CloudError as error:
                entry.status = str(error.http)
                if isinstance(error, AnswerLost):
                    raise DeliveryFailed(str(error)) from error
                return DeliveryAnswer(error.http, {}, error.message.encode())
            entry.status, entry.decision = str(answer.status), entry.decision or OPEN
            return answer
