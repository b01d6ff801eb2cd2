"""A model behind an OpenAI-compatible server: requests in, samples out one by one as they finish.

A chat server takes messages, not a rendered prompt, so here `Request.rendered` holds the conversation as JSON
(`write_messages`), and the sample's id covers it; with api `completions` it holds the prompt itself. The `sampling`
table passes through as fields of the request's body. A server's `reasoning_content` becomes `<think>...</think>` before
the answer. The key is read from the environment when an engine starts, and is sent only to the server.
"""

import asyncio
import dataclasses
import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillery.errors import UserError
from stillery.records import Generation, Request, ScoredGeneration
from stillery.sampling.backends.openai_api import (
    PATHS,
    EndpointError,
    OpenAIServer,
    RequestRefusedError,
    ServerReply,
    TransientError,
    body_of,
    error_message,
    fault_of,
    proxy,
    read_key,
    read_reply,
)
from stillery.sampling.cost import Account, SpendingCap
from stillery.sampling.engine import settings_json
from stillery.sampling.top_logprobs import TokenIds, from_server

if TYPE_CHECKING:
    import aiohttp

# This many requests in a row that used up their attempts, with no answer in between, are an outage.
OUTAGE = 8


@dataclass(frozen=True, slots=True)
class _SubmittedRequest:
    request: Request
    sampling: Mapping[str, Any]
    done: Callable[[Generation | Exception], None]


def _backoff(tries: int, *, endpoint: OpenAIServer) -> float:
    """Exponential, with jitter: requests that failed together do not retry together."""
    return min(endpoint.max_backoff_s, endpoint.backoff_s * 2.0 ** min(tries - 1, 30)) * random.uniform(0.5, 1.0)


class EndpointEngine:
    """Keeps up to `concurrency` requests in flight, on its own thread.

    A request that the server refuses, or does not answer within its attempts, comes back with `error` set. An error
    that affects every request breaks the engine: requests in flight may still finish, then all others receive the
    error.
    """

    def __init__(
        self,
        endpoint: OpenAIServer,
        *,
        model_id: str,
        account: Account | None = None,
        top_logprobs: tuple[int, TokenIds] | None = None,
    ) -> None:
        """`top_logprobs` sets how many are kept of each token, which the sampling settings must request, and finds
        their token ids."""
        self._top_logprobs = top_logprobs
        self.account = Account() if account is None else account
        self._budget = SpendingCap(self.account, endpoint=endpoint)
        self._endpoint, self._model_id = endpoint, model_id
        self._secret = read_key(endpoint)
        self._tasks: set[asyncio.Task[Generation | None]] = set()
        self._sending: set[asyncio.Task[Any] | None] = set()
        self._stranded: list[_SubmittedRequest] = []
        self._failure: Exception | None = None
        self._num_given_up_in_a_row = 0
        self._resume_at = 0.0
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._loop = asyncio.new_event_loop()
        self._answered_at = self._loop.time()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="endpoint")
        self._thread.start()
        self._http = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        self._loop.call_soon_threadsafe(self._start, _SubmittedRequest(request, sampling, done))

    def close(self) -> None:
        """End the thread; requests in flight are dropped."""

        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._http.close()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        timeout_s = self._endpoint.timeout_s
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._secret}"} if self._secret else {},
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(30.0, timeout_s)),
            connector=aiohttp.TCPConnector(limit=0),  # the slots are the limit
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy(self._endpoint.base_url),
        )

    def _start(self, submitted: _SubmittedRequest) -> None:
        task = self._loop.create_task(self._run(submitted))
        self._tasks.add(task)
        # A callback, since a task that is cancelled before its first step never runs a line of its own.
        task.add_done_callback(lambda ended: self._end(ended, submitted))

    async def _run(self, submitted: _SubmittedRequest) -> Generation | None:
        async with self._slots:
            try:
                return await self._sample(submitted)
            except Exception as error:
                # Boundary: any error goes to all waiting callers.
                self._break(error)
                return None

    def _end(self, task: "asyncio.Task[Generation | None]", submitted: _SubmittedRequest) -> None:
        self._tasks.discard(task)
        made = None if task.cancelled() else task.result()
        if made is not None:
            submitted.done(made)
        else:
            self._stranded.append(submitted)
        if self._failure is not None and not self._tasks:
            while self._stranded:
                self._stranded.pop().done(self._failure)

    def _break(self, error: Exception) -> None:
        """Start no new requests. Those in flight are paid for and may finish, unless they are bound to fail too."""
        if self._failure is not None:
            return
        self._failure = error
        kept = set[asyncio.Task[Any] | None]() if isinstance(error, EndpointError) else self._sending
        for task in self._tasks - kept - {asyncio.current_task()}:
            task.cancel()

    async def _sample(self, submitted: _SubmittedRequest) -> Generation | None:
        """Attempts until the request is answered or refused, or they are used up. None if the engine broke
        meanwhile."""
        tries = failures = 0
        while self._failure is None:
            try:
                reply = await self._attempt(submitted)
            except RequestRefusedError as error:
                self.account.num_refused += 1
                self._num_given_up_in_a_row = 0
                return self._failed(submitted, str(error))
            except TransientError as fault:
                tries += 1
                # While other requests are answered, a 429 is the rate limit, not a failure of this request.
                limited = fault.status == 429 and self._loop.time() - self._answered_at < self._endpoint.timeout_s
                failures += not limited
                if failures >= self._endpoint.max_attempts:
                    self._count_given_up(fault)
                    return self._failed(submitted, f"gave up after {failures} attempts: {fault}")
                self.account.num_retries += 1
                await asyncio.sleep(_backoff(tries, endpoint=self._endpoint))
            else:
                self._num_given_up_in_a_row = 0
                return self._made(submitted, reply)
        return None

    def _made(self, submitted: _SubmittedRequest, reply: ServerReply) -> Generation:
        made = _generation(submitted, reply, model_id=self._model_id, error=None)
        if self._top_logprobs is None:
            return made
        k, ids = self._top_logprobs
        if reply.completion and not reply.logprobs:
            raise UserError(
                f"{self._endpoint.base_url} answers without log-probabilities: set teacher.top_logprobs=0, or ask a "
                "server that gives them"
            )
        try:
            top = from_server(reply.logprobs, ids=ids, k=k)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Boundary: a server may report these in an unknown form, and the sample is valid without them.
            top = None
        return ScoredGeneration(**{f.name: getattr(made, f.name) for f in dataclasses.fields(made)}, top=top)

    def _failed(self, submitted: _SubmittedRequest, error: str) -> Generation:
        return _generation(submitted, ServerReply("", None, None, None, None), model_id=self._model_id, error=error)

    def _count_given_up(self, fault: TransientError) -> None:
        self.account.num_given_up += 1
        self._num_given_up_in_a_row += 1
        if self._num_given_up_in_a_row >= OUTAGE:
            raise UserError(
                f"{self._endpoint.base_url}: {OUTAGE} requests in a row failed {self._endpoint.max_attempts} times "
                f"each, the last with: {fault}; start again when the server answers (finished samples are kept)"
            )

    async def _attempt(self, submitted: _SubmittedRequest) -> ServerReply:
        """One request, with its cost reserved before and settled after."""
        while (wait_s := self._resume_at - self._loop.time()) > 0:
            await asyncio.sleep(wait_s + _backoff(1, endpoint=self._endpoint))
        most = self._budget.most(submitted.request.rendered, submitted.sampling)
        await self._budget.reserve(most, is_idle=lambda: not self._sending)
        task = asyncio.current_task()
        self._sending.add(task)
        reply, is_billed = None, True
        try:
            reply = await self._post(submitted)
            self.account.num_answered += 1
            self._answered_at = self._loop.time()
            return reply
        except TransientError as fault:
            is_billed = fault.billed
            raise
        except (RequestRefusedError, UserError):
            is_billed = False
            raise
        finally:
            self._sending.discard(task)
            self._budget.settle(most, reply=reply, is_billed=is_billed)

    async def _post(self, submitted: _SubmittedRequest) -> ServerReply:
        """Send one request and read its response. Raises TransientError, RequestRefusedError or UserError."""
        import aiohttp

        url = f"{self._endpoint.base_url.rstrip('/')}/{PATHS[self._endpoint.api]}"
        body = body_of(submitted.request, endpoint=self._endpoint, sampling=submitted.sampling)
        try:
            async with self._http.post(url, json=body, allow_redirects=False) as response:
                data = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise TransientError(f"no connection ({self._clean(error)})") from None
        except TimeoutError:
            raise TransientError(f"no answer within {self._endpoint.timeout_s:g} s", billed=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise TransientError(f"the connection broke ({self._clean(error)})", billed=True) from None
        if self._secret:
            data = data.replace(self._secret.encode(), b"[key]")  # some servers echo it
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = data[:1000].decode("utf-8", "replace")
        if response.status != 200:
            raise self._fault(url, response.status, response.headers, answer)
        try:
            return read_reply(answer)
        except ValueError as error:
            raise TransientError(f"{error}: {self._clean(error_message(answer))}", billed=True) from None

    def _fault(self, url: str, status: int, headers: Mapping[str, str], answer: Any) -> Exception:
        """The error for a response other than 200; a wait that the server demands applies to every request."""
        said = self._clean(error_message(answer))
        fault = fault_of(status, headers, answer, said=said, url=url, endpoint=self._endpoint)
        if isinstance(fault, TransientError):
            self._resume_at = max(self._resume_at, self._loop.time() + fault.wait_s)
        return fault

    def _clean(self, said: object) -> str:
        """External text on one line, without the key, and short."""
        text = " ".join(str(said).split()) or type(said).__name__
        return (text.replace(self._secret, "[key]") if self._secret else text)[:300]


def _generation(submitted: _SubmittedRequest, reply: ServerReply, *, model_id: str, error: str | None) -> Generation:
    return Generation(
        **dataclasses.asdict(submitted.request),
        completion=reply.completion,
        finish_reason=reply.finish_reason,
        num_prompt_tokens=reply.num_prompt_tokens or 0,
        num_tokens=reply.num_tokens or 0,
        mean_logprob=reply.mean_logprob,
        model=model_id,
        sampling=settings_json(submitted.sampling),
        attempt=0,
        surplus=False,
        error=error,
    )
