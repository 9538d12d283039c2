"""The OpenAPI body of an HTTP API, read as API Gateway documents it.

Every object is closed and every member has its type: an extension that API Gateway would refuse, pass over or read
as something else is an error here. The emulator makes an API of what is read, and `hold.py` holds it against the
rest of the deployment."""

import json
import re
from dataclasses import dataclass, field

METHODS = {"delete", "get", "head", "options", "patch", "post", "put"}
ANY = "x-amazon-apigateway-any-method"
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-cors-configuration.html
CORS = {
    "allowOrigins": "texts?",
    "allowCredentials": "boolean?",
    "exposeHeaders": "texts?",
    "maxAge": "number?",
    "allowMethods": "texts?",
    "allowHeaders": "texts?",
}
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-authorizer.html
AUTHORIZER = {
    "type": "text",
    "authorizerUri": "text",
    "authorizerCredentials": "text?",
    "authorizerResultTtlInSeconds": "number?",
    "authorizerPayloadFormatVersion": "text",
    "enableSimpleResponses": "boolean?",
    "identitySource": "texts?",
}
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-integration.html
INTEGRATION = {
    "type": "text",
    "httpMethod": "text",
    "uri": "text",
    "payloadFormatVersion": "text",
    "timeoutInMillis": "number?",
}
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-endpoint-configuration.html
ENDPOINT = {"disableExecuteApiEndpoint": "boolean?"}
# "CreateAuthorizer: authorizerResultTtlInSeconds ... If it is not set, the default is 300."
DEFAULT_TTL_SECONDS = 300
MAX_TTL_SECONDS = 3600

# Kinds of members: their names, and whether a value is one. An empty list is a mistake.
KINDS = {
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "number": (
        "a number of 0 or more",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    ),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "text": ("text", lambda value: isinstance(value, str)),
    "texts": (
        "a list of texts",
        lambda value: isinstance(value, list) and bool(value) and all(isinstance(one, str) and one for one in value),
    ),
}
# A path: segments, of which a whole one can be a variable, and the last one the rest of the path.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
PATH = re.compile(r"/|(/([\w.~!$&'()*+,;=:@-]+|\{\w+\}))*(/([\w.~!$&'()*+,;=:@-]+|\{\w+\+?\}))")


class Unreadable(ValueError):
    """API Gateway would reject it, or its behaviour is not documented."""


@dataclass
class Authorizer:
    """A Lambda authorizer."""

    uri: str
    payload_format_version: str
    ttl_seconds: int
    simple_responses: bool
    identity_source: list


@dataclass
class Route:
    """A method and a path, and what they lead to."""

    method: str
    path: str
    uri: str
    payload_format_version: str
    authorizer: str | None

    @property
    def key(self):
        return f"{self.method} {self.path}"


@dataclass
class Body:
    """The content of a body."""

    routes: list = field(default_factory=list)
    authorizers: dict = field(default_factory=dict)
    cors: dict | None = None
    disable_execute_api_endpoint: bool = False


def members(value, where, kinds):
    """The members of a closed object. A kind that ends in "?" may be absent."""
    if not isinstance(value, dict):
        raise Unreadable(f"{where} is {json.dumps(value)}, which is no object")
    for name in value:
        if name not in kinds:
            raise Unreadable(f"{where} has the member {name}, which API Gateway does not document")
    for name, kind in kinds.items():
        called, fits = KINDS[kind.rstrip("?")]
        if name in value and not fits(value[name]):
            raise Unreadable(f"{where}: {name} is {json.dumps(value[name])}, and must be {called}")
        if name not in value and not kind.endswith("?"):
            raise Unreadable(f"{where} has no {name}")
    return value


def read(document):
    """Reads a body whose intrinsics are resolved."""
    kinds = {
        "openapi": "text",
        "info": "object",
        "tags": "list?",
        "paths": "object",
        "components": "object?",
        "servers": "list?",
    }
    document = members(document, "the body", {**kinds, "x-amazon-apigateway-cors": "object?"})
    if not document["openapi"].startswith("3."):
        raise Unreadable(f"the body is of OpenAPI {document['openapi']}; HTTP APIs are of version 3")
    body = Body()
    components = members(document.get("components", {}), "components", {"securitySchemes": "object?"})
    for name, scheme in components.get("securitySchemes", {}).items():
        body.authorizers[name] = authorizer(name, scheme)
    for path, operations in document["paths"].items():
        if not PATH.fullmatch(path):
            raise Unreadable(f"{path} is no path of a route")
        for method, operation in operations.items():
            if method not in METHODS and method != ANY:
                raise Unreadable(f"{path}: {method} is no method")
            body.routes.append(route("ANY" if method == ANY else method.upper(), path, operation, body.authorizers))
    if "x-amazon-apigateway-cors" in document:
        body.cors = members(document["x-amazon-apigateway-cors"], "x-amazon-apigateway-cors", CORS)
    for server in document.get("servers", []):
        server = members(server, "servers", {"url": "text?", "x-amazon-apigateway-endpoint-configuration": "object?"})
        endpoint = server.get("x-amazon-apigateway-endpoint-configuration", {})
        endpoint = members(endpoint, "x-amazon-apigateway-endpoint-configuration", ENDPOINT)
        body.disable_execute_api_endpoint |= endpoint.get("disableExecuteApiEndpoint", False)
    return body


def authorizer(name, scheme):
    where = f"the authorizer {name}"
    # SAM writes `Unused`: the identity sources stand in the extension.
    kinds = {"type": "text", "name": "text", "in": "text", "x-amazon-apigateway-authorizer": "object"}
    scheme = members(scheme, where, kinds)
    if (scheme["type"], scheme["in"]) != ("apiKey", "header"):
        raise Unreadable(f"{where} is a scheme of the type {scheme['type']}, in {scheme['in']}")
    extension = members(scheme["x-amazon-apigateway-authorizer"], where, AUTHORIZER)
    if extension["type"] != "request":
        raise Unreadable(f"{where} has the type {extension['type']}")
    ttl_seconds = extension.get("authorizerResultTtlInSeconds", DEFAULT_TTL_SECONDS)
    if not 0 <= ttl_seconds <= MAX_TTL_SECONDS:
        raise Unreadable(f"{where}: authorizerResultTtlInSeconds is {ttl_seconds}, and must be 0 to {MAX_TTL_SECONDS}")
    return Authorizer(
        uri=extension["authorizerUri"],
        payload_format_version=extension["authorizerPayloadFormatVersion"],
        ttl_seconds=ttl_seconds,
        simple_responses=extension.get("enableSimpleResponses", False),
        identity_source=extension.get("identitySource", []),
    )


def route(method, path, operation, authorizers):
    where = f"{method} {path}"
    kinds = {
        "x-amazon-apigateway-integration": "object",
        "security": "list?",
        "responses": "object?",
        "parameters": "list?",
    }
    operation = members(operation, where, kinds)
    integration = members(operation["x-amazon-apigateway-integration"], where, INTEGRATION)
    if integration["type"] != "aws_proxy" or integration["httpMethod"] != "POST":
        raise Unreadable(f"{where}: a function is integrated by aws_proxy, with POST")
    # The range that the extension documents.
    if not 50 <= integration.get("timeoutInMillis", 30_000) <= 30_000:
        raise Unreadable(f"{where}: timeoutInMillis must be 50 to 30000")
    # With several, any one of them would do: OpenAPI reads alternatives. SAM writes exactly one, NONE where there is no
    # authorizer.
    named = [name for requirement in operation.get("security", [{"NONE": []}]) for name in requirement]
    if len(named) != 1:
        raise Unreadable(f"{where} has {len(named)} security requirements, and must have one")
    if named[0] not in authorizers and named[0] != "NONE":
        raise Unreadable(f"{where} names the authorizer {named[0]}, which is not there")
    guard = None if named[0] == "NONE" else named[0]
    return Route(method, path, integration["uri"], integration["payloadFormatVersion"], guard)
