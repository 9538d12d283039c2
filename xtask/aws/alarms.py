"""Alarms: each can fire, and does not always.

CloudWatch takes an alarm on a metric that nobody writes, and never fires it. So each alarm is held against the
metrics that there are, and each expression is computed for what it is to tell apart."""

import re

# Metrics that AWS and the functions write: the names of their dimensions, and the values that a dimension of ours can
# have. https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html shared/src/telemetry/metrics.rs
METRICS = {
    ("AWS/Lambda", "Errors"): {"FunctionName": None},
    ("AWS/Lambda", "Invocations"): {"FunctionName": None},
    ("AWS/Lambda", "Throttles"): {"FunctionName": None},
    ("AWS/ApiGateway", "5xx"): {"ApiId": None},
    ("Latchkey", "AuthorizationLatency"): {"Service": None, "Outcome": {"allowed", "refused", "failed"}},
    ("Latchkey", "LoginFailures"): {"Service": None},
    ("Latchkey", "LoginLatency"): {"Service": None, "Outcome": {"succeeded", "refused", "throttled", "failed"}},
    ("Latchkey", "Refreshes"): {"Service": None, "Outcome": {"succeeded", "refused", "reused", "failed"}},
    ("Latchkey", "UnauthorizedErrors"): {"Service": None},
}
# Missing data means that something does not run; for all other alarms, that nothing happens.
BREACHING = {"RotateKeysStoppedAlarm"}
FUNCTIONS = {"FILL", "IF", "SUM"}
DAY, WEEK = 86_400, 7 * 86_400
# For each alarm on an expression: values of its metrics in a period, and whether they are to breach. An unnamed metric
# never had a value.
SCENARIOS = {
    "LoginFailuresAlarm": [
        ({}, False),
        ({"logins": 100, "failures": 0}, False),
        ({"logins": 100, "failures": 50}, False),
        ({"logins": 100, "failures": 51}, True),
        ({"logins": 50, "failures": 50}, True),
        ({"logins": 49, "failures": 49}, False),
    ],
    "AuthorizerErrorsAlarm": [
        ({}, False),
        ({"calls": 1000, "errors": 0, "refusals": 0}, False),
        # Behind a REST API every rejected token is an error of the function.
        ({"calls": 100, "errors": 100, "refusals": 100}, False),
        ({"calls": 1000, "errors": 41, "refusals": 40}, True),
        ({"calls": 10, "errors": 1, "refusals": 0}, True),
        # It ends at every call, from the first one on.
        ({"calls": 10, "errors": 10}, True),
    ],
}


def held(alarms):
    """The findings about alarms, whose properties are resolved."""
    for name, alarm in alarms.items():
        metrics = list(metrics_of(alarm))
        for metric in metrics:
            yield from known(name, metric)
        yield from window(name, alarm, {metric["Period"] for metric in metrics})
        missing = "breaching" if name in BREACHING else "notBreaching"
        if alarm.get("TreatMissingData") != missing:
            yield f"{name}: TreatMissingData is {alarm.get('TreatMissingData')}, and should be {missing}"
        if "Metrics" in alarm:
            yield from expressions(name, alarm)
        elif name in SCENARIOS:
            yield f"{name} is on no expression, and there are values for one"


def metrics_of(alarm):
    if "Metrics" not in alarm:
        yield alarm
        return
    for metric in alarm["Metrics"]:
        if "MetricStat" in metric:
            yield {**metric["MetricStat"]["Metric"], "Period": metric["MetricStat"]["Period"]}


def known(name, metric):
    key = (metric.get("Namespace"), metric.get("MetricName"))
    dimensions = {it["Name"]: it["Value"] for it in metric.get("Dimensions", [])}
    if key not in METRICS or METRICS[key].keys() != dimensions.keys():
        yield f"{name} is on {'/'.join(map(str, key))} by {', '.join(sorted(dimensions))}, which is never written"
        return
    for dimension, values in METRICS[key].items():
        if values and dimensions[dimension] not in values:
            yield f"{name}: {dimension} is never {dimensions[dimension]}"


def window(name, alarm, periods):
    """Limits of PutMetricAlarm: a day in all, or a week with periods of an hour or more."""
    if len(periods) != 1:
        yield f"{name} has the periods {sorted(periods)}"
        return
    (period,) = periods
    evaluated = alarm["EvaluationPeriods"]
    if period * evaluated > (WEEK if period >= 3600 else DAY):
        yield f"{name} looks back {period * evaluated} s, which CloudWatch does not"
    if alarm.get("DatapointsToAlarm", evaluated) > evaluated:
        yield f"{name} wants {alarm['DatapointsToAlarm']} of {evaluated} periods"


def expressions(name, alarm):
    returned = [metric["Id"] for metric in alarm["Metrics"] if metric.get("ReturnData", True)]
    if len(returned) != 1:
        yield f"{name} returns the data of {len(returned)} expressions, and must of one"
        return
    ids = {metric["Id"] for metric in alarm["Metrics"]}
    for metric in alarm["Metrics"]:
        words = set(re.findall(r"[A-Za-z_]\w*", metric.get("Expression", "")))
        if unknown := words - ids - FUNCTIONS:
            yield f"{name}: the expression of {metric['Id']} names {', '.join(sorted(unknown))}"
            return
    if name not in SCENARIOS:
        yield f"{name} is on an expression, and nothing says for which values it is to fire"
    for values, breaches in SCENARIOS.get(name, []):
        computed = compute(alarm["Metrics"], returned[0], values)
        if fires(alarm, computed) != breaches:
            yield f"{name} {'does not fire' if breaches else 'fires'} for {values}: its expression is {computed}"


def fires(alarm, value):
    if value is None:
        return alarm["TreatMissingData"] == "breaching"
    over = {
        "GreaterThanThreshold": value > alarm["Threshold"],
        "GreaterThanOrEqualToThreshold": value >= alarm["Threshold"],
    }
    return over[alarm["ComparisonOperator"]]


class Series:
    """A metric in one period; None is no value, which is what every operation with it gives."""

    def __init__(self, value):
        self.value = value.value if isinstance(value, Series) else value

    def with_(self, other, operation):
        other = Series(other)
        if self.value is None or other.value is None:
            return Series(None)
        return Series(operation(self.value, other.value))

    def __add__(self, other):
        return self.with_(other, lambda one, two: one + two)

    def __sub__(self, other):
        return self.with_(other, lambda one, two: one - two)

    def __mul__(self, other):
        return self.with_(other, lambda one, two: one * two)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self.with_(other, lambda one, two: one / two if two else None)

    def __ge__(self, other):
        return self.with_(other, lambda one, two: one >= two)


def compute(metrics, wanted, values):
    """The value of an expression, as CloudWatch's metric math has it."""

    def of(name):
        metric = next(metric for metric in metrics if metric["Id"] == name)
        if "Expression" not in metric:
            return Series(values.get(name))
        names = {it["Id"]: it["Id"] for it in metrics}
        expression = re.sub(r"\b[a-z]\w*\b", lambda word: f"of('{names[word[0]]}')", metric["Expression"])
        return eval(expression, {"__builtins__": {}}, {"of": of, **MATH})  # noqa: S307 - words are checked before

    return of(wanted).value


# A metric that never had a value cannot be filled: there is no series. SUM takes the series that there are.
MATH = {
    "FILL": lambda series, _: series,
    "IF": lambda condition, then, otherwise: Series(
        None if condition.value is None else then if condition.value else otherwise
    ),
    "SUM": lambda series: Series(
        sum(it.value for it in series if it.value is not None) if any(it.value is not None for it in series) else None
    ),
}
