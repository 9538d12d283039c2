//! DynamoDB tables: from a resource to the `CreateTable` request that makes the same table.

use serde_json::{Map, Value, json};

use crate::{
    Resource, Template,
    error::{Invalid, Problem},
    resolved::Resolved,
};

/// A table of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its key under `Resources`.
    pub logical_id: String,
    /// `TableName`, or the name AWS would generate.
    pub name: String,
    /// The body of the `CreateTable` request.
    pub create_table: Value,
    /// The attribute that holds an item's expiry, if items expire. It is not part of `CreateTable`.
    pub ttl_attribute: Option<String>,
}

const TABLE: &str = "AWS::DynamoDB::Table";
const SIMPLE_TABLE: &str = "AWS::Serverless::SimpleTable";

pub(crate) fn read(template: &Template) -> Result<Vec<Table>, Invalid> {
    template.resources(&[TABLE, SIMPLE_TABLE])?.iter().map(table).collect()
}

fn table(resource: &Resource<'_>) -> Result<Table, Invalid> {
    let at = resource.at();
    let unknown = || Invalid::new(&at, Problem::UnknownReference(resource.logical_id.to_owned()));
    let name = resource.template.physical_name(resource.logical_id, &at)?.ok_or_else(unknown)?;
    let mut request = if resource.kind() == SIMPLE_TABLE { simple(resource)? } else { full(resource)? };
    request.insert("TableName".to_owned(), Value::from(name.clone()));
    Ok(Table {
        logical_id: resource.logical_id.to_owned(),
        name,
        create_table: Value::Object(request),
        ttl_attribute: ttl_attribute(resource)?,
    })
}

fn full(resource: &Resource<'_>) -> Result<Map<String, Value>, Invalid> {
    let mut request = Map::new();
    for name in ["AttributeDefinitions", "KeySchema"] {
        let property = resource.property(name)?;
        let property = property.ok_or_else(|| Invalid::new(resource.at(), Problem::Missing(name.to_owned())))?;
        property.list()?;
        request.insert(name.to_owned(), property.value);
    }
    if let Some(mode) = resource.property("BillingMode")? {
        request.insert("BillingMode".to_owned(), Value::from(mode.text()?));
    }
    if let Some(throughput) = resource.property("ProvisionedThroughput")? {
        request.insert("ProvisionedThroughput".to_owned(), provisioned(&throughput)?);
    }
    if let Some(indexes) = resource.property("GlobalSecondaryIndexes")? {
        request.insert("GlobalSecondaryIndexes".to_owned(), secondary_indexes(&indexes)?);
    }
    if let Some(indexes) = resource.property("LocalSecondaryIndexes")? {
        request.insert("LocalSecondaryIndexes".to_owned(), secondary_indexes(&indexes)?);
    }
    if let Some(stream) = resource.property("StreamSpecification")? {
        let view = stream.require("StreamViewType")?.text()?;
        request.insert("StreamSpecification".to_owned(), json!({ "StreamEnabled": true, "StreamViewType": view }));
    }
    Ok(request)
}

/// SAM's short form: one hash key, on-demand.
fn simple(resource: &Resource<'_>) -> Result<Map<String, Value>, Invalid> {
    let (name, kind) = match resource.property("PrimaryKey")? {
        Some(key) => (key.require("Name")?.text()?, key.require("Type")?.text()?),
        None => ("id".to_owned(), "String".to_owned()),
    };
    let initial = |kind: &str| kind.chars().next().map(String::from).unwrap_or_default();
    Ok(Map::from_iter([
        (
            "AttributeDefinitions".to_owned(),
            json!([{ "AttributeName": name, "AttributeType": initial(&kind.to_uppercase()) }]),
        ),
        ("KeySchema".to_owned(), json!([{ "AttributeName": name, "KeyType": "HASH" }])),
        ("BillingMode".to_owned(), json!("PAY_PER_REQUEST")),
    ]))
}

/// What the request has of an index; CloudFormation's resource has more, which is set by other calls.
fn secondary_indexes(indexes: &Resolved) -> Result<Value, Invalid> {
    let index = |index: Resolved| {
        let mut picked = index.pick(&["IndexName", "KeySchema", "Projection"])?;
        if let Some(throughput) = index.get("ProvisionedThroughput") {
            picked.insert("ProvisionedThroughput".to_owned(), provisioned(&throughput)?);
        }
        Ok(Value::Object(picked))
    };
    indexes.list()?.into_iter().map(index).collect()
}

/// Capacities are often parameters, hence text; the request wants numbers.
fn provisioned(throughput: &Resolved) -> Result<Value, Invalid> {
    Ok(json!({
        "ReadCapacityUnits": throughput.require("ReadCapacityUnits")?.unsigned()?,
        "WriteCapacityUnits": throughput.require("WriteCapacityUnits")?.unsigned()?,
    }))
}

fn ttl_attribute(resource: &Resource<'_>) -> Result<Option<String>, Invalid> {
    let Some(specification) = resource.property("TimeToLiveSpecification")? else { return Ok(None) };
    if !specification.require("Enabled")?.boolean()? {
        return Ok(None);
    }
    specification.require("AttributeName")?.text().map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Parameters, Template};

    #[test]
    fn a_table_becomes_the_request_that_makes_it() {
        let source = "
Parameters: { Units: { Type: Number, Default: 5 } }
Resources:
  T:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    Properties:
      TableName: !Sub '${AWS::StackName}-things'
      BillingMode: PROVISIONED
      ProvisionedThroughput: { ReadCapacityUnits: !Ref Units, WriteCapacityUnits: 1 }
      AttributeDefinitions:
        - { AttributeName: id, AttributeType: S }
        - { AttributeName: at, AttributeType: N }
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      GlobalSecondaryIndexes:
        - IndexName: by-at
          KeySchema: [{ AttributeName: at, KeyType: HASH }]
          Projection: { ProjectionType: ALL }
          ProvisionedThroughput: { ReadCapacityUnits: '2', WriteCapacityUnits: !Ref Units }
          ContributorInsightsSpecification: { Enabled: true }
      StreamSpecification: { StreamViewType: KEYS_ONLY }
      TimeToLiveSpecification: { AttributeName: at, Enabled: true }
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true }
      Tags: [{ Key: a, Value: b }]
";
        let template = Template::parse("t.yaml".as_ref(), source, Parameters::new("stack")).unwrap();
        let tables = template.tables().unwrap();
        assert_eq!(tables.len(), 1);
        assert_eq!((tables[0].logical_id.as_str(), tables[0].name.as_str()), ("T", "stack-things"));
        assert_eq!(tables[0].ttl_attribute.as_deref(), Some("at"));
        assert_eq!(
            tables[0].create_table,
            json!({
                "TableName": "stack-things",
                "BillingMode": "PROVISIONED",
                "ProvisionedThroughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 1 },
                "AttributeDefinitions": [
                    { "AttributeName": "id", "AttributeType": "S" }, { "AttributeName": "at", "AttributeType": "N" }
                ],
                "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
                "GlobalSecondaryIndexes": [{
                    "IndexName": "by-at",
                    "KeySchema": [{ "AttributeName": "at", "KeyType": "HASH" }],
                    "Projection": { "ProjectionType": "ALL" },
                    "ProvisionedThroughput": { "ReadCapacityUnits": 2, "WriteCapacityUnits": 5 },
                }],
                "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "KEYS_ONLY" },
            })
        );
    }

    #[test]
    fn a_simple_table_is_on_demand_with_one_key() {
        let source = "
Resources:
  A: { Type: AWS::Serverless::SimpleTable }
  B: { Type: AWS::Serverless::SimpleTable, Properties: { PrimaryKey: { Name: n, Type: Number } } }
";
        let template = Template::parse("t.yaml".as_ref(), source, Parameters::new("stack")).unwrap();
        let requests: Vec<_> = template.tables().unwrap().into_iter().map(|table| table.create_table).collect();
        let expected = |table: &str, name: &str, kind: &str| {
            json!({
                "TableName": table,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{ "AttributeName": name, "AttributeType": kind }],
                "KeySchema": [{ "AttributeName": name, "KeyType": "HASH" }],
            })
        };
        assert_eq!(requests, [expected("stack-A", "id", "S"), expected("stack-B", "n", "N")]);
    }

    #[test]
    fn a_table_without_keys_says_so() {
        let source = "Resources: { T: { Type: AWS::DynamoDB::Table, Properties: { AttributeDefinitions: [] } } }";
        let template = Template::parse("t.yaml".as_ref(), source, Parameters::new("stack")).unwrap();
        assert_eq!(template.tables().unwrap_err().to_string(), "t.yaml, Resources.T: KeySchema is missing");
    }
}
