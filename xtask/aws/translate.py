"""A SAM template as CloudFormation gets it, by AWS's own translator (`aws-sam-translator`).

The template is read as the SAM CLI reads it, and its local code is replaced by an address in S3, as `sam deploy`
does it before CloudFormation sees the template."""

import copy
import logging
import os
import pathlib

# The translator asks the SDK for a region, to know the partition. The caller's account is not needed.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_DEFAULT_REGION"] = "eu-west-1"

import yaml  # noqa: E402
from samtranslator.model.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

# The properties with local code (`samcli.lib.package.packageable_resources`).
LOCAL_CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


class Refused(Exception):
    """SAM rejects the template."""

    def __init__(self, reasons):
        super().__init__("; ".join(reasons))


class NoManagedPolicies:
    """The template names managed policies by their ARN alone."""

    def load(self):
        return {}


def read(path):
    """The template, with its local code uploaded."""
    logging.disable(logging.WARNING)
    try:
        template = yaml_parse(pathlib.Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Refused([f"{path} is no YAML: {error}"]) from error
    for logical_id, resource in template["Resources"].items():
        code = LOCAL_CODE.get(resource.get("Type"))
        if code and isinstance(resource["Properties"].get(code), str):
            resource["Properties"][code] = f"s3://uploaded/{logical_id}"
    return template


def translated(template, parameters):
    """The translation for these values of parameters. CloudFormation gives SAM each value as text, also of numbers."""
    defaults = {
        name: str(declared["Default"])
        for name, declared in template.get("Parameters", {}).items()
        if "Default" in declared
    }
    try:
        return transform(copy.deepcopy(template), {**defaults, **parameters}, NoManagedPolicies())
    except InvalidDocumentException as error:
        raise Refused([cause.message for cause in error.causes]) from error
