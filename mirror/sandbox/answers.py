"""From a request to an answer: who asks, which faults strike, what the world says, which envelope.

Pure but for the world: no sockets here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import orjson
from graphql import GraphQLError

from mirror.sandbox.artifact_writes import ARTIFACT_MUTATIONS
from mirror.sandbox.automations import AUTOMATION_FIELDS, AUTOMATION_MUTATIONS
from mirror.sandbox.connections import Refused
from mirror.sandbox.context import Context
from mirror.sandbox.documents import Document, Executor, document
from mirror.sandbox.downloads import File, Unsatisfiable, by_key, ranged
from mirror.sandbox.faults import Fault, Poisoned
from mirror.sandbox.launch import LAUNCH_MUTATIONS
from mirror.sandbox.mutations import MUTATIONS
from mirror.sandbox.objects import User
from mirror.sandbox.people import PEOPLE_FIELDS, PEOPLE_MUTATIONS
from mirror.sandbox.queries import QUERIES
from mirror.sandbox.registries import ARTIFACT_FIELDS, REGISTRY_MUTATIONS
from mirror.sandbox.uploads import (
    BadDigest,
    Forbidden,
    NotThere,
    download,
    fetch,
    store,
    stream,
    upload,
)
from mirror.sandbox.world import World

RESOLVERS: Final = (
    QUERIES
    | PEOPLE_FIELDS
    | AUTOMATION_FIELDS
    | ARTIFACT_FIELDS
    | MUTATIONS
    | PEOPLE_MUTATIONS
    | AUTOMATION_MUTATIONS
    | LAUNCH_MUTATIONS
    | ARTIFACT_MUTATIONS
    | REGISTRY_MUTATIONS
)


@dataclass(frozen=True, slots=True)
class Asked:
    """An HTTP request: `base_url` is how the client names this server."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    base_url: str


@dataclass(slots=True)
class Answer:
    """An HTTP answer, what it was about, and how its sending is to go wrong."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    operation: str = ""
    fields: frozenset[str] = frozenset()
    variables: dict[str, Any] = field(default_factory=dict)
    user: str | None = None
    latency_s: float = 0.0
    trickle_s: float = 0.0
    drop: str | None = None


@cache
def executor() -> Executor:
    return Executor(RESOLVERS)


def respond(world: World, asked: Asked) -> Answer:
    """Answer a request."""
    if asked.path.split("?")[0].rstrip("/") == "/graphql":
        return graphql(world, asked)
    if asked.path.startswith(("/files/", "/storage/", "/artifacts/", "/artifactsV2/")):
        return files(world, asked)
    return failed(404, "not found")


def files(world: World, asked: Asked) -> Answer:
    """Answer a request for a run's file stream or one of its files."""
    streaming = asked.method == "POST"
    operation = "file_stream" if streaming else "files"
    with world.lock:
        user = user_of(world, asked.headers)
        fields = names_of(asked)
        faults = world.faults.strike(operation, fields)
        answer = struck(faults) or moved(world, asked, user, streaming)
    answer.operation, answer.user = operation, user.username if user else None
    answer.fields = fields
    return spoiled(answer, faults)


def names_of(asked: Asked) -> frozenset[str]:
    """Return what faults and the log may call a request for a file, besides its operation."""
    root, *parts = asked.path.split("?")[0].strip("/").split("/")
    if root == "files":
        return frozenset((asked.method,)) - {"POST", "GET"}
    way = "storage" if root == "storage" else "by_key"
    kind = "manifests" if "manifests" in parts[:1] else "artifact_files"
    return frozenset((way, kind, asked.method, *parts[2:])) - {"GET"}


def moved(world: World, asked: Asked, user: User | None, streaming: bool) -> Answer:
    """Move a file up or down."""
    try:
        if streaming:
            return answered(200, stream(world, asked.path, asked.body, user))
        if asked.method == "PUT" and asked.path.startswith("/storage/"):
            md5 = store(world, asked.path, asked.body, asked.headers.get("Content-MD5"))
            return Answer(200, b"", {"ETag": f'"{md5}"'})
        if asked.method == "PUT":
            upload(world, asked.path, asked.body, user)
            return Answer(200)
        return sent(world, asked, user)
    except NotThere:
        return failed(404, "not found")
    except Forbidden:
        return Answer(403, FORBIDDEN, {"Content-Type": "application/xml"})
    except BadDigest:
        return failed(400, "BadDigest")
    except Unsatisfiable:
        return failed(416, "range not satisfiable")


FORBIDDEN: Final = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def sent(world: World, asked: Asked, user: User | None) -> Answer:
    """Answer with a file, or with where it is. Raises NotThere, Forbidden or Unsatisfiable."""
    file: File
    if asked.path.startswith("/storage/"):
        file = fetch(world, asked.path)
    elif asked.path.startswith("/artifacts"):
        where, file = by_key(world, asked.path, user)
        if world.artifacts.redirects:
            url = f"{asked.base_url}{world.signed(f'/storage/{where}')}"
            return Answer(307, b"", {"Location": url})
    else:
        file = download(world, asked.path, user)
    status, body, headers = ranged(file, asked.headers.get("Range"))
    return Answer(status, body, headers)


def user_of(world: World, headers: Mapping[str, str]) -> User | None:
    """Return whose key the Basic credentials hold; the user name must be "api"."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, key = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return world.keys.get(key) if name == "api" else None


def graphql(world: World, asked: Asked) -> Answer:
    """Answer a GraphQL request; faults come first, as a proxy's would."""
    try:
        text, variables, name = read_request(asked.body)
    except ValueError as error:
        return failed(400, str(error))
    found = document(text)
    operation = found.operation(name)
    title = name or (operation.name.value if operation and operation.name else "")
    fields = found.fields(name)
    with world.lock:
        user = user_of(world, asked.headers)
        faults = world.faults.strike(title, fields)
        answer = struck(faults)
        if answer is None:
            ctx = Context(world, user, asked.base_url, title, faults)
            answer = executed(found, variables, name, ctx)
    answer.headers |= {
        "RateLimit-Limit": "1000",
        "RateLimit-Remaining": str(0 if answer.status == 429 else world.rate_limit_remaining),
        "RateLimit-Reset": str(world.rate_limit_reset_s),
    }
    answer.operation, answer.fields, answer.variables = title, fields, variables
    answer.user = user.username if user else None
    return spoiled(answer, faults)


def read_request(body: bytes) -> tuple[str, dict[str, Any], str | None]:
    """Return text, variables and operation name of a request body. Raises ValueError."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise ValueError("request body is not JSON") from error
    if not isinstance(request, dict) or not isinstance(request.get("query"), str):
        raise ValueError("request body has no query")
    variables = request.get("variables") or {}
    if not isinstance(variables, dict):
        raise ValueError("variables are not an object")
    return request["query"], variables, request.get("operationName") or None


def struck(faults: list[Fault]) -> Answer | None:
    """Return the answer of a fault that leaves nothing to execute."""
    for fault in faults:
        if fault.status is not None:
            return with_status(fault)
        if fault.errors is not None:
            return answered(200, {"errors": fault.errors, "data": None})
    return None


def with_status(fault: Fault) -> Answer:
    assert fault.status is not None
    message = "Rate limit exceeded" if fault.status == 429 else fault.message
    answer = failed(fault.status, message)
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = str(fault.retry_after)
    return answer


def spoiled(answer: Answer, faults: list[Fault]) -> Answer:
    """Delay, cut or drop an answer as the faults say."""
    for fault in faults:
        answer.latency_s += fault.latency_s
        answer.trickle_s += fault.trickle_s
        if fault.truncate:
            answer.body = answer.body[: len(answer.body) // 2]
        if fault.corrupt and answer.body:
            answer.body = bytes((answer.body[0] ^ 1,)) + answer.body[1:]
        if fault.drop is not None:
            answer.drop = fault.drop
    return answer


def executed(found: Document, variables: dict[str, Any], name: str | None, ctx: Context) -> Answer:
    if found.errors:
        return answered(400, {"errors": [shown(error) for error in found.errors]})
    data, errors = executor().execute(found, variables, name, ctx)
    for error in errors:
        cause = error.original_error
        if isinstance(cause, Poisoned):
            return with_status(cause.fault)
        if isinstance(cause, Refused):
            return answered(cause.status, {"errors": [shown(error)], "data": data})
        if cause is not None and not isinstance(cause, GraphQLError):
            raise cause  # a bug of the sandbox: better seen than wrapped up
    if errors:
        return answered(200, {"errors": [shown(error) for error in errors], "data": data})
    return answered(200, {"data": data})


def shown(error: GraphQLError) -> dict[str, Any]:
    """Return an error as the envelope holds it."""
    return {"message": error.message, **({"path": error.path} if error.path else {})}


def failed(status: int, message: str) -> Answer:
    return answered(
        status,
        {"error": message} if status in (429, 502, 503) else {"errors": [{"message": message}]},
    )


def answered(status: int, value: Any) -> Answer:
    return Answer(status, written(value), {"Content-Type": "application/json"})


def written(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates, integers above 64 bits
        return json.dumps(value, default=str).encode()
