"""Creates the template's stack in an AWS API emulator, and says what is there then.

    deploy.py ENDPOINT STACK_NAME TEMPLATE ARCHIVES [NAME=VALUE ...]

The template is translated by SAM's own translator, then given to CloudFormation at ENDPOINT as it is, but for what the
emulator cannot make. ARCHIVES has a bootstrap.zip for each function, in a directory named by its binary; they are uploaded,
as `sam deploy` does it. Standard output is one JSON object: what AWS would answer about the stack's parts.
"""

import ast
import json
import logging
import os
import pathlib
import sys
import time

# Of the caller's account nothing is wanted.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local", AWS_DEFAULT_REGION="eu-west-1")

import boto3  # noqa: E402
import yaml  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

BUCKET = "archives"

# moto 5.2.2 cannot make these by CloudFormation. The gateway of this project makes the API from the same template.
NOT_EMULATED = {
    "AWS::ApiGatewayV2::Api": "the local gateway is made from the same template",
    "AWS::ApiGatewayV2::Stage": "the local gateway is made from the same template",
    "AWS::Lambda::Permission": "moto has no resource policies of functions here",
    "AWS::CloudWatch::Dashboard": "moto's CloudFormation has no dashboards",
    "Custom::Keys": "nobody invokes functions in moto; the test sends the event itself",
}


class NoManagedPolicies:
    """The template names managed policies by their ARN only."""

    def load(self):
        return {}


def translated(path, parameters):
    template = yaml_parse(pathlib.Path(path).read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = resource["Properties"]
            binary = pathlib.PurePath(properties["CodeUri"]).name
            properties["CodeUri"] = f"s3://{BUCKET}/{binary}.zip"
    logging.disable(logging.WARNING)
    return transform(template, parameters, NoManagedPolicies())


def without(template):
    """Takes out what the emulator cannot make, and what speaks of it."""
    resources = template["Resources"]
    gone = {name: NOT_EMULATED[body["Type"]] for name, body in resources.items() if body["Type"] in NOT_EMULATED}
    while True:
        more = {}
        for name, body in resources.items():
            if name not in gone:
                hit = next((other for other in gone if speaks_of(body, other)), None)
                if hit:
                    more[name] = f"it speaks of {hit}"
        if not more:
            break
        gone |= more
    left = {name: body for name, body in resources.items() if name not in gone}
    outputs = {
        name: body
        for name, body in template.get("Outputs", {}).items()
        if not any(speaks_of(body, other) for other in gone)
    }
    return {**template, "Resources": left, "Outputs": outputs}, gone


def speaks_of(value, name):
    if isinstance(value, dict):
        if value.get("Ref") == name:
            return True
        attribute = value.get("Fn::GetAtt")
        if attribute and (attribute if isinstance(attribute, list) else attribute.split("."))[0] == name:
            return True
        depends = value.get("DependsOn", [])
        if name in ([depends] if isinstance(depends, str) else depends):
            return True
        return any(speaks_of(member, name) for member in value.values())
    if isinstance(value, list):
        return any(speaks_of(member, name) for member in value)
    return isinstance(value, str) and ("${" + name + "}" in value or "${" + name + "." in value)


def main(endpoint, stack_name, path, archives, *settings):
    parameters = dict(setting.split("=", 1) for setting in settings)
    template, left_out = without(translated(path, parameters))
    client = lambda service: boto3.client(service, endpoint_url=endpoint)  # noqa: E731

    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for archive in sorted(pathlib.Path(archives).glob("*/bootstrap.zip")):
        s3.upload_file(str(archive), BUCKET, f"{archive.parent.name}.zip")

    cloudformation = client("cloudformation")
    cloudformation.create_stack(
        StackName=stack_name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    deadline = time.monotonic() + 60
    while True:
        stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS") or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        sys.exit(f"{stack_name}: {stack['StackStatus']}: {stack.get('StackStatusReason', '')}")

    resources = []
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_name):
        resources += page["StackResourceSummaries"]
    of = lambda kind: {  # noqa: E731
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == kind
    }
    dynamodb, kms, iam, functions, logs = map(client, ("dynamodb", "kms", "iam", "lambda", "logs"))

    def statements(role):
        found = []
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            # moto's CloudFormation leaves the object as Python writes it.
            found += (ast.literal_eval(document) if isinstance(document, str) else document)["Statement"]
        return found

    def policy_of(key):
        policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        if isinstance(policy, dict):
            # moto's CloudFormation leaves an object where its KMS wants text. It is the same policy.
            kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
            return policy
        return json.loads(policy)

    policies = {key: policy_of(key) for key in of("AWS::KMS::Key").values()}

    told = {
        "resources": {name: list(of(name).items()) for name in sorted({one["ResourceType"] for one in resources})},
        "left_out": left_out,
        "tables": {name: dynamodb.describe_table(TableName=table)["Table"] for name, table in of("AWS::DynamoDB::Table").items()},
        # moto's CloudFormation passes over these, so they are what CloudFormation is given.
        "table_properties": {
            name: {
                key: body["Properties"].get(key)
                for key in ("TimeToLiveSpecification", "PointInTimeRecoverySpecification", "SSESpecification")
            }
            for name, body in template["Resources"].items()
            if body["Type"] == "AWS::DynamoDB::Table"
        },
        "keys": {
            name: {
                **kms.describe_key(KeyId=key)["KeyMetadata"],
                "rotates": kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"],
                "policy": policies[key],
            }
            for name, key in of("AWS::KMS::Key").items()
        },
        "roles": {
            name: {
                "trusts": iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"],
                # moto attaches only policies that were made in it, so it is what CloudFormation is given.
                "managed": template["Resources"][name]["Properties"].get("ManagedPolicyArns", []),
                "statements": statements(role),
                "arn": iam.get_role(RoleName=role)["Role"]["Arn"],
            }
            for name, role in of("AWS::IAM::Role").items()
        },
        "functions": {
            name: functions.get_function_configuration(FunctionName=function)
            for name, function in of("AWS::Lambda::Function").items()
        },
        "log_groups": {
            name: logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
            for name, group in of("AWS::Logs::LogGroup").items()
        },
        "outputs": {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
    }
    json.dump(told, sys.stdout, default=str)


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
