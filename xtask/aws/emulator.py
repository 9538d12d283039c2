"""AWS on this machine: ministack, extended by what this project's template needs.

    emulator.py PORT API_PORT DIRECTORY

ministack (https://pypi.org/project/ministack) runs CloudFormation, IAM, Lambda, API Gateway, DynamoDB, KMS and the
rest in one process. It checks every signature, and evaluates roles and the policies of keys at every call. Functions
are processes of this machine, started from the archives that were uploaded; those for another processor run under
QEMU.

PORT is AWS. At API_PORT stands the API that was deployed last: not every machine finds `API.execute-api.localhost`,
its address at PORT.

Each addition stands beside the sentence of AWS's documentation that it stands for. What it cannot read of an API fails
the stack: nothing is passed over. Not enforced: permissions of functions, throttling, a disabled execute-api address,
time to live and recovery of tables. Not made: access logs, and values of metric math. hold.py holds these in the
translation.

DIRECTORY/calls.jsonl has every decision of IAM about a role, DIRECTORY/functions.log
every line that a function writes.

Variables: DAY_SECONDS, how long a day of a schedule takes here (86400 if absent); IAM_DELAY_SECONDS, for how long
what a new role allows is not yet known (0 if absent); ACCOUNT_CONCURRENCY, how many functions may run at once in the
account (1000 if absent)."""

import asyncio
import contextvars
import inspect
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

if len(sys.argv) != 4:
    sys.exit(__doc__)
PORT, API_PORT, DIRECTORY = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
DAY_SECONDS = float(os.environ.get("DAY_SECONDS", "86400"))
IAM_DELAY_SECONDS = float(os.environ.get("IAM_DELAY_SECONDS", "0"))
ACCOUNT_CONCURRENCY = int(os.environ.get("ACCOUNT_CONCURRENCY", "1000"))

# Functions inherit this environment: it has nothing of the caller's but PATH.
environment = {"PATH": os.environ.get("PATH", ""), "TMPDIR": str(DIRECTORY / "tmp")}
os.environ.clear()
os.environ.update(
    environment,
    AUTH="true",
    AWS_ENDPOINT_URL=f"http://127.0.0.1:{PORT}",
    BIND_HOST="127.0.0.1",
    GATEWAY_PORT=PORT,
    IOT_MTLS_ENABLED="0",
    LAMBDA_ACCOUNT_CONCURRENCY=str(ACCOUNT_CONCURRENCY),
    LAMBDA_EXECUTOR="local",
    # Where the emulator takes the role of CloudFormation.
    LATCHKEY_LOCAL_RESPONSE_HOST="localhost",
    LOG_LEVEL="WARNING",
    MINISTACK_REGION="eu-west-1",
    S3_DATA_DIR=str(DIRECTORY / "s3"),
    STATE_DIR=str(DIRECTORY / "state"),
)
# Where functions' code is unpacked.
(DIRECTORY / "tmp").mkdir(parents=True, exist_ok=True)
tempfile.tempdir = str(DIRECTORY / "tmp")

import body  # noqa: E402
import samtranslator.translator.transform as sam  # noqa: E402
from body import Unreadable  # noqa: E402
from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack import app  # noqa: E402
from ministack.core import iam_actions, iam_evaluator, lambda_runtime  # noqa: E402
from ministack.core.responses import get_account_id  # noqa: E402
from ministack.services import apigateway, cloudwatch_logs, dynamodb, eventbridge  # noqa: E402
from ministack.services.cloudformation import changesets, engine, handlers, provisioners  # noqa: E402


class Lines:
    """A file that takes lines from any thread."""

    def __init__(self, name):
        self.file = (DIRECTORY / name).open("w", encoding="utf-8", buffering=1)
        self.lock = threading.Lock()

    def write(self, line):
        with self.lock:
            self.file.write(line + "\n")


CALLS, FUNCTIONS_LOG = Lines("calls.jsonl"), Lines("functions.log")


# ---------------------------------------------------------------- SAM's transform knows the values of parameters
# "To include the values of parameters, CloudFormation passes them to the transform" is how macros work
# (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-macros-author.html:
# `templateParameterValues`).
PARAMETERS = contextvars.ContextVar("parameters", default={})
translate = sam.transform


def transform_with_parameters(template, parameters, managed_policies, *rest, **more):
    return translate(template, {**PARAMETERS.get(), **parameters}, managed_policies, *rest, **more)


def with_parameters(apply):
    def applied(template, provided=None, previous=None):
        PARAMETERS.set(engine._transform_parameters(template, provided, previous))
        return apply(template, provided, previous)

    return applied


sam.transform = transform_with_parameters
for module in (changesets, handlers):
    module._apply_transforms = with_parameters(module._apply_transforms)


# ---------------------------------------------------------------- An HTTP API is made of its OpenAPI body
# "Body: The OpenAPI definition."
# (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigatewayv2-api.html)
IMPORTED = []


def answered(response, what):
    """ministack's own operation on its own API."""
    status, _, body = response
    if status >= 400:
        raise Unreadable(f"{what}: {body!r}")
    return json.loads(body)


def import_body(api_id, document):
    """Creates routes, integrations, authorizers and CORS from a body, in place of the previous ones."""
    read = body.read(document)
    IMPORTED.append(api_id)
    for store in (apigateway._routes, apigateway._integrations, apigateway._authorizers):
        store[api_id] = {}
    ids = {}
    for name, authorizer in read.authorizers.items():
        made = apigateway._create_authorizer(
            api_id,
            {
                "name": name,
                "authorizerType": "REQUEST",
                "authorizerUri": authorizer.uri,
                "authorizerPayloadFormatVersion": authorizer.payload_format_version,
                "authorizerResultTtlInSeconds": authorizer.ttl_seconds,
                "enableSimpleResponses": authorizer.simple_responses,
                "identitySource": authorizer.identity_source,
            },
        )
        ids[name] = answered(made, name)["authorizerId"]
    for route in read.routes:
        integration = {
            "integrationType": "AWS_PROXY",
            "integrationMethod": "POST",
            "integrationUri": route.uri,
            "payloadFormatVersion": route.payload_format_version,
        }
        integration_id = answered(apigateway._create_integration(api_id, integration), route.key)["integrationId"]
        guard = {"authorizationType": "CUSTOM", "authorizerId": ids[route.authorizer]} if route.authorizer else {}
        made = apigateway._create_route(
            api_id, {"routeKey": route.key, "target": f"integrations/{integration_id}", **guard}
        )
        answered(made, route.key)
    # It has no operation that unsets a member.
    apigateway._delete_cors_configuration(api_id)
    if read.cors:
        answered(apigateway._update_api(api_id, {"corsConfiguration": read.cors}), "CORS")
    answered(
        apigateway._update_api(api_id, {"disableExecuteApiEndpoint": read.disable_execute_api_endpoint}), "endpoint"
    )


def with_body(handler):
    """An API is defined only by its body."""

    def taken(properties):
        properties = dict(properties)
        document = properties.pop("Body", None)
        if not isinstance(document, dict) or set(properties) - {"Tags", "DisableExecuteApiEndpoint", "FailOnWarnings"}:
            raise Unreadable("AWS::ApiGatewayV2::Api is understood with a Body that says all of it")
        return properties, document

    def create(logical_id, properties, stack_name):
        properties, document = taken(properties)
        made = handler["create"](logical_id, {**properties, "Name": stack_name}, stack_name)
        import_body(made[0], document)
        return made

    def update(physical_id, old, new, stack_name, logical_id=None):
        (old, _), (new, document) = taken(old), taken(new)
        name = {"Name": stack_name}
        made = handler["update"](physical_id, {**old, **name}, {**new, **name}, stack_name, logical_id)
        import_body(made[0], document)
        return made

    return {**handler, "create": create, "update": update}


API = "AWS::ApiGatewayV2::Api"
provisioners._RESOURCE_HANDLERS[API] = with_body(provisioners._RESOURCE_HANDLERS[API])


# ---------------------------------------------------------------- An alarm on an expression
# "Metrics: An array that enables you to create an alarm based on the result of a metric math expression. Each item in
# the array either retrieves a metric or performs a math expression."
# (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-alarm.html)
alarm_record = provisioners._cw_metric_alarm_record


def alarm_of(name, properties):
    metrics = properties.get("Metrics")
    if not metrics:
        return alarm_record(name, properties)
    # alarms.py checks expressions and their values; nothing is computed here.
    record = alarm_record(name, {**properties, "Metrics": None, "Namespace": "-", "MetricName": "-"})
    return {**record, "Metrics": metrics}


provisioners._cw_metric_alarm_record = alarm_of


# ---------------------------------------------------------------- An API's paths are its own
# ministack has a page of Amazon Cognito at /login and /logout of any host. An API's address belongs to the API:
# "https://{api_id}.execute-api.{region}.amazonaws.com/{stage_name}/" (Invoke HTTP APIs).
def not_on_an_api(handle):
    async def handled(method, path, headers, *rest):
        if ".execute-api." in headers.get("host", ""):
            return None
        return await handle(method, path, headers, *rest)

    return handled


def not_on_an_api_sync(handle):
    def handled(method, path, headers, *rest):
        if ".execute-api." in headers.get("host", ""):
            return None
        return handle(method, path, headers, *rest)

    return handled


for name in [name for name in dir(app) if name.startswith("_handle_cognito")]:
    handle = getattr(app, name)
    setattr(app, name, (not_on_an_api if inspect.iscoroutinefunction(handle) else not_on_an_api_sync)(handle))


# ---------------------------------------------------------------- Condition keys of KMS and DynamoDB
# "kms:EncryptionContext:context-key: Use the kms:EncryptionContext:context-key condition key prefix to control access
# to a symmetric encryption KMS key based on the encryption context in a request for a cryptographic operation."
# (https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html) "dynamodb:LeadingKeys: Represents the
# first key attribute of a table, in other words, the partition key."
# (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html)
request_tags = iam_actions.request_tag_context


def request_context(service, action, body, parameters):
    context = dict(request_tags(service, action, body, parameters))
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return context
    if service == "kms":
        for name, value in (request.get("EncryptionContext") or {}).items():
            context[f"kms:EncryptionContext:{name}"] = value
    if service == "dynamodb":
        keys = leading_keys(request)
        if keys:
            context["dynamodb:LeadingKeys"] = keys
    return context


def leading_keys(request):
    """The values of partition keys that a request names."""
    keys = []

    def of(table, key):
        if isinstance(key, dict):
            value = key.get(partition_key(table), {})
            keys.extend(str(one) for one in value.values())

    table = request.get("TableName")
    of(table, request.get("Key"))
    of(table, request.get("Item"))
    for table_of, asked in (request.get("RequestItems") or {}).items():
        for key in asked.get("Keys", []) if isinstance(asked, dict) else []:
            of(table_of, key)
    for item in request.get("TransactItems") or []:
        for detail in item.values():
            of(detail.get("TableName"), detail.get("Key"))
            of(detail.get("TableName"), detail.get("Item"))
    # Of `#p = :p AND ...` the value of the one that is the partition key.
    names, values = request.get("ExpressionAttributeNames") or {}, request.get("ExpressionAttributeValues") or {}
    for name, value in re.findall(r"([#\w]+)\s*=\s*(:\w+)", request.get("KeyConditionExpression") or ""):
        if names.get(name, name) == partition_key(table, request.get("IndexName")):
            keys.extend(str(one) for one in values.get(value, {}).values())
    return keys


def partition_key(table, index=None):
    described = dynamodb._tables.get(table) or {}
    schema = described.get("KeySchema") or []
    for one in described.get("GlobalSecondaryIndexes") or []:
        if one.get("IndexName") == index:
            schema = one.get("KeySchema") or []
    return next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), None)


iam_actions.request_tag_context = request_context
# "dynamodb:Attributes: Represents a list of the attribute names in a request, or the attributes that are returned from
# a request." ministack takes those of a projection alone. A transaction "is authorized as the writes it is made of", so
# each of them has a list of its own.
named_attributes = iam_actions.dynamodb_service_context
EXPRESSIONS = ("KeyConditionExpression", "FilterExpression", "UpdateExpression", "ConditionExpression")
EXPRESSION_WORDS = {
    "ADD",
    "AND",
    "BETWEEN",
    "DELETE",
    "IN",
    "NOT",
    "OR",
    "REMOVE",
    "SET",
    "attribute_exists",
    "attribute_not_exists",
    "attribute_type",
    "begins_with",
    "contains",
    "if_not_exists",
    "list_append",
    "size",
}
# Where `decided` finds the lists of a transaction's writes.
OF_TRANSACTION = "transaction"


def attributes_of(request):
    """The attributes that one read or write names: its key, its item, and what is in its expressions."""
    names = request.get("ExpressionAttributeNames") or {}
    words = [
        word
        for expression in EXPRESSIONS
        for word in re.findall(r"(?<![:\w])#?[A-Za-z_]\w*", request.get(expression) or "")
        if word not in EXPRESSION_WORDS
    ]
    keys = [*(request.get("Key") or {}), *(request.get("Item") or {})]
    return {names.get(word, word) for word in words} | set(keys)


def attributes_context(request_body):
    context = named_attributes(request_body)
    try:
        request = json.loads(request_body or b"{}")
    except ValueError:
        return context
    writes = [write for item in request.get("TransactItems") or [] for write in item.items()]
    if writes:
        lists = {(kind, detail.get("TableName")): sorted(attributes_of(detail)) for kind, detail in writes}
        return {**context, OF_TRANSACTION: lists}
    found = attributes_of(request) | set(context.get("dynamodb:Attributes", []))
    context = {**context, "dynamodb:Attributes": sorted(found)} if found else context
    return {**context, "dynamodb:ReturnValues": request["ReturnValues"]} if "ReturnValues" in request else context


def context_of_write(context, action, resource):
    """What of a transaction's context is one write's."""
    if OF_TRANSACTION not in (context or {}):
        return context
    context = dict(context)
    kinds = {"dynamodb:PutItem": "Put", "dynamodb:UpdateItem": "Update", "dynamodb:DeleteItem": "Delete"}
    kind, table = kinds.get(action, "ConditionCheck"), resource.rsplit("/", 1)[-1]
    named = context.pop(OF_TRANSACTION).get((kind, table))
    return {**context, "dynamodb:Attributes": named} if named else context


iam_actions.dynamodb_service_context = attributes_context


# ---------------------------------------------------------------- Every decision is logged; and IAM may be late
# "changes that you make in IAM ... take time to become visible from all possible endpoints."
# (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency)
decide = iam_evaluator.enforce
MADE_AT = {}


def noted(handler):
    """A role is known some time after its creation."""

    def create(logical_id, properties, stack_name):
        made = handler["create"](logical_id, properties, stack_name)
        MADE_AT[made[0]] = time.monotonic()
        return made

    return {**handler, "create": create}


def decided(access_key, action, service, region, resource_arn="*", service_context=None):
    service_context = context_of_write(service_context, action, resource_arn)
    outcome = decide(access_key, action, service, region, resource_arn=resource_arn, service_context=service_context)
    arn = getattr(iam_evaluator.resolve_principal(access_key or "", get_account_id()), "arn", "")
    if ":assumed-role/" not in arn:
        return outcome
    role = arn.split(":assumed-role/")[1].split("/")[0]
    is_known = time.monotonic() - MADE_AT.get(role, 0) >= IAM_DELAY_SECONDS
    if outcome is None and not is_known:
        outcome = iam_evaluator.EvalResult("ImplicitDeny", principal_arn=arn)
    conditions = {
        name: value
        for name, value in (service_context or {}).items()
        if value and name.startswith(("dynamodb:", "kms:"))
    }
    call = {
        "role": role,
        "action": action,
        "resource": resource_arn,
        "conditions": conditions,
        "allowed": outcome is None,
        "known": is_known,
    }
    CALLS.write(json.dumps(call, default=str))
    return outcome


iam_evaluator.enforce = decided
ROLE = "AWS::IAM::Role"
provisioners._RESOURCE_HANDLERS[ROLE] = noted(provisioners._RESOURCE_HANDLERS[ROLE])


# ---------------------------------------------------------------- Reserved concurrency
# "You can reserve up to the Unreserved account concurrency value, minus 100 for functions that don't have reserved
# concurrency." (https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html)
RESERVED = {}


def reserving(handler):
    def reserved(properties, name=None):
        wanted = int(properties.get("ReservedConcurrentExecutions") or 0)
        others = sum(number for other, number in RESERVED.items() if other != name)
        if wanted and ACCOUNT_CONCURRENCY - others - wanted < 100:
            raise ValueError(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                "below its minimum value of [100]."
            )
        return wanted

    def create(logical_id, properties, stack_name):
        wanted = reserved(properties)
        made = handler["create"](logical_id, properties, stack_name)
        RESERVED[made[0]] = wanted
        return made

    def update(physical_id, old, new, stack_name, logical_id=None):
        wanted = reserved(new, physical_id)
        made = handler["update"](physical_id, old, new, stack_name, logical_id)
        RESERVED[made[0]] = wanted
        return made

    def delete(physical_id, properties):
        RESERVED.pop(physical_id, None)
        return handler["delete"](physical_id, properties)

    return {**handler, "create": create, "update": update, "delete": delete}


FUNCTION = "AWS::Lambda::Function"
provisioners._RESOURCE_HANDLERS[FUNCTION] = reserving(provisioners._RESOURCE_HANDLERS[FUNCTION])


# ---------------------------------------------------------------- Protected tables
# "When deletion protection is enabled for a table, it cannot be deleted by anyone."
# (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithTables.Basics.html)
def protecting(handler):
    def delete(physical_id, properties):
        if (dynamodb._tables.get(physical_id) or {}).get("DeletionProtectionEnabled"):
            raise ValueError(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection "
                f"first: {physical_id}"
            )
        return handler["delete"](physical_id, properties)

    return {**handler, "delete": delete}


TABLE = "AWS::DynamoDB::Table"
provisioners._RESOURCE_HANDLERS[TABLE] = protecting(provisioners._RESOURCE_HANDLERS[TABLE])


# ---------------------------------------------------------------- A name is taken
# "ResourceAlreadyExistsException: The specified resource already exists." (CreateLogGroup)
def taking(handler):
    def create(logical_id, properties, stack_name):
        name = properties.get("LogGroupName")
        if name in cloudwatch_logs._log_groups:
            raise ValueError(f"Resource of type 'AWS::Logs::LogGroup' with identifier '{name}' already exists.")
        return handler["create"](logical_id, properties, stack_name)

    return {**handler, "create": create}


GROUP = "AWS::Logs::LogGroup"
provisioners._RESOURCE_HANDLERS[GROUP] = taking(provisioners._RESOURCE_HANDLERS[GROUP])


# ---------------------------------------------------------------- A day passes
rate_seconds = eventbridge._parse_rate_seconds


def shortened(expression):
    seconds = rate_seconds(expression)
    return seconds and seconds * DAY_SECONDS / 86400


if DAY_SECONDS != 86400:
    eventbridge._parse_rate_seconds = shortened
    eventbridge._SCHEDULER_TICK_INTERVAL = 1


# ---------------------------------------------------------------- Other processors; what functions write
MACHINES = {62: "x86_64", 183: "aarch64"}
popen = subprocess.Popen


def machine_of(program):
    """The processor that an ELF file is for, in its header's `e_machine`."""
    with open(program, "rb") as file:
        header = file.read(20)
    return MACHINES.get(struct.unpack_from("<H", header, 18)[0]) if header[:4] == b"\x7fELF" else None


def started(arguments, *rest, **more):
    if isinstance(arguments, list) and len(arguments) == 1 and os.path.basename(arguments[0]) == "bootstrap":
        machine = machine_of(arguments[0])
        if machine and machine != os.uname().machine:
            emulator = shutil.which(f"qemu-{machine}")
            if emulator is None:
                raise OSError(f"this bootstrap is for {machine}, and there is no qemu-{machine} on PATH")
            libraries = f"/usr/{machine}-linux-gnu"
            arguments = [emulator, *(["-L", libraries] if os.path.isdir(libraries) else []), *arguments]
    return popen(arguments, *rest, **more)


class Subprocess:
    """The module as the runtime of functions sees it."""

    def __getattr__(self, name):
        return started if name == "Popen" else getattr(subprocess, name)


lambda_runtime.subprocess = Subprocess()
pump = lambda_runtime.ProvidedWorker._pump_output


class Copied:
    """A pipe whose lines are logged as they are read."""

    def __init__(self, stream):
        self.stream = stream

    def readline(self):
        line = self.stream.readline()
        if line:
            FUNCTIONS_LOG.write(line.decode("utf-8", "replace").rstrip("\n"))
        return line

    def close(self):
        self.stream.close()


lambda_runtime.ProvidedWorker._pump_output = lambda worker, stream, lines: pump(worker, Copied(stream), lines)


# ---------------------------------------------------------------- Serving
async def served(scope, receive, send):
    """At the API's port, every request is for the API, for any Host header."""
    if scope["type"] == "http" and scope["server"][1] == int(API_PORT) and IMPORTED:
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope = {**scope, "headers": [(b"host", f"{IMPORTED[-1]}.execute-api.localhost:{PORT}".encode()), *others]}
    await app.app(scope, receive, send)


def main():
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}", f"127.0.0.1:{API_PORT}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    asyncio.run(serve(served, config))


if __name__ == "__main__":
    main()
