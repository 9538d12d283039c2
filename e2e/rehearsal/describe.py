"""Describes the resources of a stack in AWS.

    describe.py STACK_NAME

The environment says where AWS is, and who asks. Standard output is one JSON object.
"""

import json
import sys

import boto3


def pages(client, operation, key, **arguments):
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page[key]]


def main(stack_name):
    cloudformation, dynamodb, iam, kms, functions, logs, events, cloudwatch, apis = map(
        boto3.client,
        ("cloudformation", "dynamodb", "iam", "kms", "lambda", "logs", "events", "cloudwatch", "apigatewayv2"),
    )
    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    resources = pages(cloudformation, "list_stack_resources", "StackResourceSummaries", StackName=stack_name)

    def of(kind, describe):
        found = {it["LogicalResourceId"]: it["PhysicalResourceId"] for it in resources if it["ResourceType"] == kind}
        return {logical_id: describe(physical_id) for logical_id, physical_id in found.items()}

    def table(name):
        return dynamodb.describe_table(TableName=name)["Table"]

    def key(key_id):
        return {
            **kms.describe_key(KeyId=key_id)["KeyMetadata"],
            "rotates": kms.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"],
            "policy": json.loads(kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"]),
        }

    def role(name):
        described = iam.get_role(RoleName=name)["Role"]
        policies = [
            iam.get_role_policy(RoleName=name, PolicyName=it)
            for it in pages(iam, "list_role_policies", "PolicyNames", RoleName=name)
        ]
        attached = pages(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        return {
            "name": name,
            "arn": described["Arn"],
            "trusts": described["AssumeRolePolicyDocument"],
            "managed": [it["PolicyArn"] for it in attached],
            "statements": [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]],
        }

    def function(name):
        return functions.get_function_configuration(FunctionName=name)

    def rule(name):
        return {**events.describe_rule(Name=name), "targets": events.list_targets_by_rule(Rule=name)["Targets"]}

    def api(api_id):
        described = apis.get_api(ApiId=api_id)
        described.pop("ResponseMetadata")
        return {
            **described,
            "routes": pages(apis, "get_routes", "Items", ApiId=api_id),
            "authorizers": pages(apis, "get_authorizers", "Items", ApiId=api_id),
        }

    told = {
        "status": stack["StackStatus"],
        "resources": [(it["LogicalResourceId"], it["ResourceType"], it["ResourceStatus"]) for it in resources],
        "outputs": {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", [])},
        "tables": of("AWS::DynamoDB::Table", table),
        "keys": of("AWS::KMS::Key", key),
        "roles": of("AWS::IAM::Role", role),
        "functions": of("AWS::Lambda::Function", function),
        "log_groups": of(
            "AWS::Logs::LogGroup", lambda name: logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
        ),
        "rules": of("AWS::Events::Rule", rule),
        "alarms": of(
            "AWS::CloudWatch::Alarm", lambda name: cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
        ),
        "apis": of("AWS::ApiGatewayV2::Api", api),
    }
    json.dump(told, sys.stdout, default=str)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
