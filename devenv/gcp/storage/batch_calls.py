"""The calls inside a batch of Cloud Storage, each with a row of the journal and its own faults."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from devenv.gcp.errors import CloudError
from devenv.gcp.faults import Faults
from devenv.gcp.journal import Journal, trace_of
from devenv.gcp.storage.errors import as_json


@dataclass(frozen=True, slots=True)
class BatchCalls:
    """Answers calls of batches by the journal, the faults and the `method` of a verb and a path."""

    journal: Journal
    faults: Faults
    who: Callable[[str], str]
    method: Callable[[str, str], str]

    async def answer(
        self, request: Request, respond: Callable[[Request], Awaitable[Response]], trace: str
    ) -> Response:
        """Answer one call, which belongs to its own trace or to that of the batch.

        A fault that breaks connections is a 503 of this call alone.
        """
        path, host = request.url.path, request.headers.get("host", "")
        with self.journal.entry(self.method(request.method, path), f"{host}{path}"[:500]) as entry:
            entry.trace = trace_of(request.headers) or trace
            entry.caller = self.who(request.headers.get("authorization", ""))
            try:
                async with self.faults.strike(entry):
                    response = await respond(request)
            except CloudError as error:
                response = as_json(error)
            entry.status = str(response.status_code)
            return response
