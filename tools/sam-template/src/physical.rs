//! What `Ref` and `GetAtt` of a resource give: the name AWS would know it by, its ARN.
//!
//! A resource without a name of its own is named `<stack>-<logical id>`; AWS would add random letters. Names are
//! unique within a template, so an ARN or a name leads back to its resource.

use crate::{
    ApiKind, Parameters, Resource, Template,
    error::{Invalid, Problem},
};

impl Template {
    /// What `Ref` of a resource gives, or `None` if there is no such resource.
    pub(crate) fn physical_name(&self, logical_id: &str, at: &str) -> Result<Option<String>, Invalid> {
        let generated = || format!("{}-{logical_id}", self.parameters.stack_name);
        match self.resource(logical_id) {
            Some(resource) => {
                let named = self.evaluate(format!("the name of {logical_id}"), at, || resource.given_name())?;
                Ok(Some(named.unwrap_or_else(generated)))
            }
            None if self.is_made_by_sam(logical_id) => Ok(Some(generated())),
            None => Ok(None),
        }
    }

    /// What `GetAtt` of a resource gives.
    pub(crate) fn attribute(&self, logical_id: &str, attribute: &str, at: &str) -> Result<String, Invalid> {
        let Some(name) = self.physical_name(logical_id, at)? else {
            return Err(Invalid::new(at, Problem::UnknownReference(logical_id.to_owned())));
        };
        let kind = match self.resource(logical_id) {
            Some(resource) => resource.kind().to_owned(),
            None => ApiKind::of_implicit(logical_id).map_or("AWS::IAM::Role", ApiKind::resource_type).to_owned(),
        };
        let Parameters { region, account_id, .. } = &self.parameters;
        let value = match (kind.as_str(), attribute) {
            ("AWS::Serverless::Function" | "AWS::Lambda::Function", "Arn") => {
                format!("arn:aws:lambda:{region}:{account_id}:function:{name}")
            }
            ("AWS::DynamoDB::Table" | "AWS::Serverless::SimpleTable", "Arn") => {
                format!("arn:aws:dynamodb:{region}:{account_id}:table/{name}")
            }
            ("AWS::DynamoDB::Table", "StreamArn") => {
                format!("arn:aws:dynamodb:{region}:{account_id}:table/{name}/stream/1970-01-01T00:00:00.000")
            }
            ("AWS::IAM::Role", "Arn") => format!("arn:aws:iam::{account_id}:role/{name}"),
            ("AWS::KMS::Key", "Arn") => format!("arn:aws:kms:{region}:{account_id}:key/{name}"),
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{name}"),
            ("AWS::SNS::Topic", "TopicArn") => format!("arn:aws:sns:{region}:{account_id}:{name}"),
            ("AWS::SQS::Queue", "Arn") => format!("arn:aws:sqs:{region}:{account_id}:{name}"),
            ("AWS::Logs::LogGroup", "Arn") => format!("arn:aws:logs:{region}:{account_id}:log-group:{name}:*"),
            ("AWS::Serverless::HttpApi", "ApiEndpoint") => {
                format!("https://{name}.execute-api.{region}.amazonaws.com")
            }
            (
                _,
                "TableName" | "FunctionName" | "QueueName" | "TopicName" | "RoleName" | "BucketName" | "ApiId"
                | "KeyId",
            ) => name,
            _ => return Err(Invalid::new(at, Problem::UnknownAttribute(format!("{logical_id}.{attribute}")))),
        };
        Ok(value)
    }

    /// Resources that are not in the template because SAM adds them: the implicit API, and each function's role.
    fn is_made_by_sam(&self, logical_id: &str) -> bool {
        let role_of = logical_id.strip_suffix("Role").and_then(|function| self.resource(function));
        ApiKind::of_implicit(logical_id).is_some()
            || role_of.is_some_and(|function| function.kind() == "AWS::Serverless::Function")
    }
}

impl Resource<'_> {
    fn given_name(&self) -> Result<Option<String>, Invalid> {
        let property = match self.kind() {
            "AWS::DynamoDB::Table" | "AWS::Serverless::SimpleTable" => "TableName",
            "AWS::Serverless::Function" | "AWS::Lambda::Function" => "FunctionName",
            "AWS::IAM::Role" => "RoleName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::SQS::Queue" => "QueueName",
            "AWS::SNS::Topic" => "TopicName",
            "AWS::Logs::LogGroup" => "LogGroupName",
            _ => return Ok(None),
        };
        self.property(property)?.map(|name| name.text()).transpose()
    }
}
