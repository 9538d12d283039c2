"""Checks a deployment's template as AWS gets it: translated by SAM, resolved by CloudFormation's rules, read by API
Gateway's.

    hold.py [--update] [--defaults] TEMPLATE SAMCONFIG DESCRIPTION GOLDEN
    hold.py --print DIRECTORY TEMPLATE SAMCONFIG

The template is translated for its default parameters, for each configuration of SAMCONFIG (samconfig.toml), and for
each parameter at its ends. DESCRIPTION is the OpenAPI description of the API: it says which routes there are, and
which are protected. GOLDEN keeps the body of the API at the default parameters; --update writes it anew. With
--defaults no other parameters are tried.

What is wrong is printed, one finding a line, and the exit code is 1. --print writes each different translation into
a file of DIRECTORY, for a linter."""

import difflib
import json
import os
import pathlib
import re
import sys
import tomllib

os.environ.update(MINISTACK_REGION="eu-west-1", MINISTACK_ACCOUNT_ID="123456789012")

import alarms  # noqa: E402
import body  # noqa: E402
import yaml  # noqa: E402
from ministack.services.cloudformation import engine  # noqa: E402
from translate import Refused, read, translated  # noqa: E402

STACK = "latchkey"
ACCOUNT = "arn:aws:lambda:eu-west-1:123456789012"
# Values at the limits of a pattern, which no program can find.
EXAMPLES = {
    "Issuer": ["", "https://login.example.com/tenant"],
    "Audience": ["a", "x" * 200],
    "AllowedOrigins": ["", "*", "https://a.example,http://localhost:5173"],
    "AllowedMethods": ["GET", "GET,HEAD,OPTIONS,POST,PUT,PATCH,DELETE"],
    "AllowedHeaders": ["authorization", "authorization,x-a,x-b"],
    "AlarmEmail": ["", "on-call@example.com"],
}
# Other values that the template's rules require for a value.
COMPANIONS = {
    ("SigningAlgorithm", "HS256"): {"Hs256": "accepted"},
    ("ExecuteApiEndpoint", "disabled"): {"Issuer": "https://login.example.com"},
}
# Values that the template's rules must reject.
REFUSED = [{"SigningAlgorithm": "HS256"}, {"ExecuteApiEndpoint": "disabled"}]
# The types of resources in a deployment. Another type may be a way to a function past the authorizer: extend this list
# together with checks for it.
TYPES = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "Custom::Keys",
}
# The outputs that the commands of docs/OPERATIONS.md use.
OUTPUTS = {
    "AccessLogGroupName",
    "ApiId",
    "ApiUrl",
    "DashboardUrl",
    "DenylistTableName",
    "KmsKeyId",
    "LoginAttemptsTableName",
    "NextStep",
    "SessionsTableName",
    "SigningKeysTableName",
    "UsersTableName",
}
# The functions that issue tokens, and so need a key of every purpose before they start.
ISSUERS = ("LoginFunction", "TokenFunction")
# The headers that a script of another origin must be able to read: when to try again, and why a token is
# rejected.
EXPOSED = {"retry-after", "www-authenticate"}
# The variables that an HTTP API's access log may have.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
LOG_VARIABLES = set("""
    accountId apiId authorizer.claims authorizer.error authorizer.principalId authorizer.property
    awsEndpointRequestId awsEndpointRequestId2 customDomain.basePathMatched dataProcessed domainName domainPrefix
    error.message error.messageString error.responseType extendedRequestId httpMethod identity.accountId
    identity.caller identity.cognitoAuthenticationProvider identity.cognitoAuthenticationType
    identity.cognitoIdentityId identity.cognitoIdentityPoolId identity.principalOrgId identity.sourceIp
    identity.clientCert.clientCertPem identity.clientCert.issuerDN identity.clientCert.serialNumber
    identity.clientCert.subjectDN identity.clientCert.validity.notAfter identity.clientCert.validity.notBefore
    identity.user identity.userAgent identity.userArn integration.error integration.integrationStatus
    integration.latency integration.requestId integration.status integrationErrorMessage integrationLatency
    integrationStatus path protocol requestId requestTime requestTimeEpoch responseLatency responseLength routeKey
    stage status
    """.split())


class Attributes(dict):
    """The attributes that a resource would have, each with a value that says where it is from."""

    def __init__(self, logical_id, kind):
        super().__init__()
        self.logical_id, self.kind = logical_id, kind

    def __contains__(self, name):
        return True

    def __getitem__(self, name):
        if self.kind == "AWS::Lambda::Function" and name == "Arn":
            return f"{ACCOUNT}:function:{self.logical_id}"
        return f"arn:of:{self.logical_id}.{name}"


class Deployment:
    """A translation, and its evaluation by CloudFormation for these parameters."""

    def __init__(self, template, parameters):
        given = [{"Key": name, "Value": value} for name, value in parameters.items()]
        self.parameters = engine._resolve_parameters(template, given)
        self.conditions = engine._evaluate_conditions(template, self.parameters)
        engine._evaluate_rules(template, self.parameters, self.conditions)
        self.template = template
        self.resources = {
            logical_id: resource
            for logical_id, resource in template["Resources"].items()
            if self.conditions.get(resource.get("Condition"), True)
        }
        self.made = {
            logical_id: {"PhysicalResourceId": logical_id, "Attributes": Attributes(logical_id, resource["Type"])}
            for logical_id, resource in self.resources.items()
        }

    def of(self, kind):
        """The resources of a type with their properties resolved."""
        return {
            name: self.resolved(it.get("Properties", {})) for name, it in self.resources.items() if it["Type"] == kind
        }

    def resolved(self, value):
        return engine._resolve_refs(
            value,
            self.made,
            self.parameters,
            self.conditions,
            self.template.get("Mappings", {}),
            STACK,
            f"arn:of:{STACK}",
        )

    def value(self, parameter):
        return self.parameters[parameter]["Value"]


def configurations(samconfig):
    """The parameters of each configuration of samconfig.toml, read as the SAM CLI reads them."""
    for name, configuration in tomllib.loads(samconfig).items():
        if isinstance(configuration, dict) and "deploy" in configuration:
            overrides = configuration["deploy"]["parameters"].get("parameter_overrides", "")
            words = re.findall(r'\S+?="[^"]*"|\S+', overrides)
            if passed_over := [word for word in words if not re.fullmatch(r'\w+=(".*"|[^"].*)', word)]:
                raise Refused(
                    [f"{name} of samconfig.toml: the SAM CLI passes over {', '.join(passed_over)} in silence"]
                )
            yield name, {word.split("=", 1)[0]: word.split("=", 1)[1].strip('"') for word in words}


def variants(template, samconfig):
    """Names of sets of parameters, and the sets."""
    yield "the defaults", {}
    for name, parameters in configurations(samconfig):
        if unknown := parameters.keys() - template["Parameters"].keys():
            raise Refused(
                [f"{name} of samconfig.toml: the SAM CLI passes over {', '.join(sorted(unknown))} in silence"]
            )
        yield f"{name} of samconfig.toml", parameters
    for name, declared in template["Parameters"].items():
        ends = declared.get("AllowedValues") or [declared[end] for end in ("MinValue", "MaxValue") if end in declared]
        ends = ends or EXAMPLES.get(name)
        if not ends:
            raise Refused(
                [f"Parameters.{name}: nothing says what its ends are; give it limits, or an example in hold.py"]
            )
        for end in ends:
            yield f"{name}={end}", {name: str(end), **COMPANIONS.get((name, str(end)), {})}


def held(deployment, described):
    """The findings about a deployment."""
    for logical_id, resource in deployment.resources.items():
        if resource["Type"] not in TYPES:
            yield f"{logical_id} is of the type {resource['Type']}, of which nothing is held"
    for missing in sorted(OUTPUTS - deployment.template.get("Outputs", {}).keys()):
        yield f"there is no output {missing}"
    apis = deployment.of("AWS::ApiGatewayV2::Api")
    for api, properties in apis.items():
        try:
            read_body = body.read(properties.get("Body"))
        except body.Unreadable as error:
            yield f"{api}: {error}"
            continue
        yield from routes(deployment, api, read_body, described)
        yield from authorizers(deployment, api, read_body)
        yield from cors(deployment, read_body.cors)
        disabled = deployment.value("ExecuteApiEndpoint") == "disabled"
        if read_body.disable_execute_api_endpoint != disabled:
            yield f"{api}: disableExecuteApiEndpoint is {read_body.disable_execute_api_endpoint}"
        yield from stages(deployment, api, read_body)
        yield from permissions(deployment, api, read_body)
    if len(apis) != 1:
        yield f"there are {len(apis)} HTTP APIs"
    yield from functions(deployment)
    yield from keys(deployment)
    yield from tables(deployment)
    yield from alarms.held(deployment.of("AWS::CloudWatch::Alarm"))
    for name, dashboard in deployment.of("AWS::CloudWatch::Dashboard").items():
        try:
            json.loads(dashboard["DashboardBody"])
        except ValueError as error:
            yield f"the body of {name} is not JSON: {error}"


def routes(deployment, api, read_body, described):
    found = {route.key: route for route in read_body.routes}
    for key in described.keys() - found.keys():
        yield f"{key} is described and has no route"
    for key in found.keys() - described.keys():
        yield f"{key} has a route and is not described"
    for key in found.keys() & described.keys():
        guard = found[key].authorizer
        if described[key] and guard is None:
            yield f"{key} is described as protected, and anybody may call it"
        if not described[key] and guard is not None:
            yield f"{key} is described as public, and has the authorizer {guard}"
    for key, route in found.items():
        if route.payload_format_version != "2.0":
            yield f"{key} has the payload format {route.payload_format_version}"


def authorizers(deployment, api, read_body):
    wanted = int(deployment.value("AuthorizerCacheSeconds"))
    for name, authorizer in read_body.authorizers.items():
        if authorizer.ttl_seconds != wanted:
            yield f"{name}: a decision is cached for {authorizer.ttl_seconds} s, and AuthorizerCacheSeconds is {wanted}"
        if authorizer.payload_format_version != "2.0" or not authorizer.simple_responses:
            yield f"{name} does not take the authorizer's answers: payload format 2.0 with simple responses"
        if authorizer.identity_source != ["$request.header.Authorization"]:
            yield f"{name} has the identity sources {authorizer.identity_source}"


def function_of(uri):
    """The logical id in the address of a function's invocations."""
    found = re.fullmatch(
        rf"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{ACCOUNT}:function:(\w+)/invocations", uri
    )
    return found[1] if found else f"the unknown address {uri}"


def permissions(deployment, api, read_body):
    """Who may call which function: only what a route, an authorizer or a schedule needs."""
    execute_api = "arn:aws:execute-api:eu-west-1:123456789012"
    needed = {}
    for route in read_body.routes:
        # A variable of the path is a `*`.
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
        source = f"{execute_api}:{api}/*/{route.method}{re.sub(r'{[^}]*}', '*', route.path)}"
        needed[(function_of(route.uri), "apigateway.amazonaws.com", source)] = f"{route.key}: API Gateway"
    for name, authorizer in read_body.authorizers.items():
        source = f"{execute_api}:{api}/authorizers/*"
        needed[(function_of(authorizer.uri), "apigateway.amazonaws.com", source)] = f"{name}: API Gateway"
    for name, rule in deployment.of("AWS::Events::Rule").items():
        for target in rule.get("Targets", []):
            function = target["Arn"].rsplit(":", 1)[-1]
            needed[(function, "events.amazonaws.com", f"arn:of:{name}.Arn")] = f"{name}: EventBridge"
    given = {}
    for name, permission in deployment.of("AWS::Lambda::Permission").items():
        if permission.get("Action") != "lambda:InvokeFunction" or len(permission) != 4:
            yield f"{name} is more than the permission of a service to call a function for one of its own"
        function = permission.get("FunctionName", "").rsplit(":", 1)[-1]
        given[(function, permission.get("Principal"), permission.get("SourceArn"))] = name
    for permission in needed.keys() - given.keys():
        yield f"{needed[permission]} has no permission to call {permission[0]}"
    for permission in given.keys() - needed.keys():
        yield f"{given[permission]} lets {permission[1]} call {permission[0]} for {permission[2]}, which nothing needs"


def cors(deployment, found):
    origins, methods, headers = (
        deployment.value(name) for name in ("AllowedOrigins", "AllowedMethods", "AllowedHeaders")
    )
    if not origins:
        if found:
            yield "CORS is configured, and AllowedOrigins is empty"
        return
    if not found:
        yield "CORS is not configured, and AllowedOrigins is not empty"
        return
    for member, wanted in (("allowOrigins", origins), ("allowMethods", methods), ("allowHeaders", headers)):
        if found.get(member) != wanted.split(","):
            yield f"CORS: {member} is {found.get(member)}, and its parameter says {wanted}"
    if not EXPOSED <= set(found.get("exposeHeaders", [])):
        yield f"CORS: exposeHeaders is {found.get('exposeHeaders')}, without all of {', '.join(sorted(EXPOSED))}"
    # "You can't use credentials with a wildcard" origin:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    if found.get("allowCredentials") and "*" in found.get("allowOrigins", []):
        yield "CORS: credentials are allowed to every page"


def stages(deployment, api, read_body):
    found = [stage for stage in deployment.of("AWS::ApiGatewayV2::Stage").values() if stage.get("ApiId") == api]
    if [stage.get("StageName") for stage in found] != ["$default"]:
        yield f"{api} has the stages {[stage.get('StageName') for stage in found]}"
    keys = {route.key for route in read_body.routes}
    for stage in found:
        if stage.get("AutoDeploy") is not True:
            yield "the stage is not deployed with the API"
        for name, settings, rate in [
            ("the stage", stage.get("DefaultRouteSettings", {}), "RequestsPerSecond"),
            *((key, settings, "LoginsPerSecond") for key, settings in stage.get("RouteSettings", {}).items()),
        ]:
            if name != "the stage" and name not in keys:
                yield f"the stage has settings for {name}, which is no route: API Gateway refuses the stage"
            for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
                if str(settings.get(limit)) != deployment.value(rate):
                    yield f"{name}: {limit} is {settings.get(limit)}, and {rate} is {deployment.value(rate)}"
            if settings.get("DetailedMetricsEnabled"):
                yield f"{name}: DetailedMetricsEnabled costs a metric for each route"
        log = stage.get("AccessLogSettings", {})
        yield from access_log(deployment, log.get("DestinationArn", ""), log.get("Format", ""))


def access_log(deployment, destination, log_format):
    groups = {f"arn:of:{name}.Arn": group for name, group in deployment.of("AWS::Logs::LogGroup").items()}
    if destination not in groups:
        yield "the access log goes to no log group of the stack"
    # "... use the prefix /aws/vendedlogs/":
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-and-resource-policy.html
    elif not groups[destination].get("LogGroupName", "").startswith("/aws/vendedlogs/"):
        yield f"the access log's group {groups[destination].get('LogGroupName')} is not below /aws/vendedlogs/"
    for variable in re.findall(r"\$context\.([\w.]*\w)", log_format):
        if variable not in LOG_VARIABLES:
            yield f"the access log has $context.{variable}, which HTTP APIs do not document: the stage may be refused"
    # "must include at least $context.requestId", and a line is one record.
    if "$context.requestId" not in log_format or "\n" in log_format:
        yield "the access log must have $context.requestId, in one line: API Gateway refuses the stage"
    try:
        json.loads(re.sub(r"\$context\.[\w.]*\w", "0", log_format))
    except ValueError:
        yield "a line of the access log is not JSON"


def functions(deployment):
    roles, groups = {}, {}
    for name, function in deployment.of("AWS::Lambda::Function").items():
        for kind, value, taken in (
            ("role", function.get("Role"), roles),
            ("log group", function.get("LoggingConfig", {}).get("LogGroup"), groups),
        ):
            if not value:
                yield f"{name} has no {kind} of its own"
            elif value in taken:
                yield f"{name} has the {kind} of {taken[value]}"
            taken[value] = name
        # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html: lines without a level
        # are treated as INFO, and metrics are such lines.
        level = function.get("LoggingConfig", {}).get("ApplicationLogLevel")
        if level != "TRACE":
            yield f"{name}: ApplicationLogLevel is {level}, and the platform drops the lines of metrics above INFO"
        if function.get("Architectures") != ["arm64"]:
            yield f"{name} is for {function.get('Architectures')}, and what is built and rehearsed is for arm64"
        for variable, value in function.get("Environment", {}).get("Variables", {}).items():
            if not isinstance(value, str):
                yield f"{name}: the variable {variable} is {json.dumps(value)}, and no text"


def keys(deployment):
    """`Custom::Keys` creates the keys before they are needed, and again when its properties change."""
    for name, made in deployment.of("Custom::Keys").items():
        wanted = {"ServiceToken", "ServiceTimeout", "SigningAlgorithm", "Purposes"}
        if made.keys() != wanted:
            yield f"{name} has the properties {', '.join(sorted(made))}, and should have {', '.join(sorted(wanted))}"
        if made.get("SigningAlgorithm") != deployment.value("SigningAlgorithm"):
            yield f"{name}: a change of SigningAlgorithm does not reach it"
        for function in ISSUERS:
            depends = deployment.resources[function].get("DependsOn", [])
            if name not in ([depends] if isinstance(depends, str) else depends):
                yield f"{function} does not depend on {name}: it could start before there is a key that it needs"


def tables(deployment):
    protected = deployment.value("DeletionProtection") == "enabled"
    for name, table in deployment.of("AWS::DynamoDB::Table").items():
        # Users stay. Every other item has the time of its expiry in this attribute.
        # A history of login attempts helps nobody, and counters by name would be in it.
        recovers = name != "LoginAttemptsTable"
        ends = None if name == "UsersTable" else {"AttributeName": "expires_at", "Enabled": True}
        for member, wanted in (
            ("BillingMode", "PAY_PER_REQUEST"),
            ("DeletionProtectionEnabled", protected),
            ("PointInTimeRecoverySpecification", {"PointInTimeRecoveryEnabled": recovers}),
            ("SSESpecification", {"SSEEnabled": True}),
            ("TimeToLiveSpecification", ends),
        ):
            if table.get(member) != wanted:
                yield f"{name}: {member} is {json.dumps(table.get(member))}, and should be {json.dumps(wanted)}"


def described_routes(path):
    """The routes of the description, and whether each is protected."""
    description = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    return {
        f"{method.upper()} {route}": bool(operation.get("security", description.get("security")))
        for route, operations in description["paths"].items()
        for method, operation in operations.items()
    }


def golden(template):
    """The body as it is saved: unresolved, as SAM generates it."""
    bodies = [
        it["Properties"]["Body"] for it in template["Resources"].values() if it["Type"] == "AWS::ApiGatewayV2::Api"
    ]
    return json.dumps(bodies, indent=2, sort_keys=True) + "\n"


def findings(path, samconfig, description, golden_path, update, defaults):
    template = read(path)
    described = described_routes(description)
    seen = {}
    sets = list(variants(template, pathlib.Path(samconfig).read_text(encoding="utf-8")))
    for name, parameters in sets[:1] if defaults else sets:
        try:
            translation = translated(template, parameters)
            found = list(held(Deployment(translation, parameters), described))
        except (Refused, ValueError) as error:
            found = [str(error)]
            translation = None
        for finding in found:
            seen.setdefault(finding, []).append(name)
        if name == "the defaults" and translation:
            yield from golden_findings(golden(translation), pathlib.Path(golden_path), update)
    for parameters in [] if defaults else REFUSED:
        try:
            Deployment(translated(template, parameters), parameters)
            yield f"{parameters} is not refused by the template's rules"
        except ValueError:
            pass
    for finding, names in seen.items():
        yield f"{finding} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"


def golden_findings(text, path, update):
    if update:
        path.write_text(text, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if kept != text:
        difference = difflib.unified_diff(
            kept.splitlines(), text.splitlines(), path.name, "as SAM makes it", lineterm="", n=2
        )
        yield "\n".join(
            [f"SAM makes another API than {path.name} keeps; if it is meant, `cargo xtask check --update`", *difference]
        )


def print_translations(directory, path, samconfig):
    """Writes each different translation into a file of its own."""
    template = read(path)
    texts = {}
    for name, parameters in variants(template, pathlib.Path(samconfig).read_text(encoding="utf-8")):
        texts.setdefault(json.dumps(translated(template, parameters), indent=2), name)
    for number, text in enumerate(texts):
        (pathlib.Path(directory) / f"translated-{number}.json").write_text(text, encoding="utf-8")


def main(arguments):
    if arguments[:1] == ["--print"] and len(arguments) == 4:
        print_translations(*arguments[1:])
        return 0
    options = {"--update", "--defaults"} & set(arguments)
    files = [argument for argument in arguments if argument not in options]
    if len(files) != 4:
        sys.exit(__doc__)
    try:
        found = list(findings(*files, "--update" in options, "--defaults" in options))
    except (Refused, OSError) as error:
        found = [str(error)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
