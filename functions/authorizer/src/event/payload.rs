//! The members that are read of any kind of event, in one pass and without a copy: every request pays for this.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use latchkey_verifier::bearer::Pair;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::EventError;

/// An event of any of the five kinds. Which members must be there depends on the kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    pub(super) version: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    pub(super) authorizer_type: Text<'a>,
    #[serde(borrow)]
    pub(super) method_arn: Option<Text<'a>>,
    /// The value of the header that an authorizer of type TOKEN is configured to read, by default
    /// `Authorization`.
    #[serde(borrow)]
    pub(super) authorization_token: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) headers: Option<Map<'a, Text<'a>>>,
    #[serde(borrow)]
    pub(super) multi_value_headers: Option<Map<'a, Vec<Text<'a>>>>,
    #[serde(borrow)]
    pub(super) query_string_parameters: Option<Map<'a, Text<'a>>>,
    #[serde(borrow)]
    pub(super) multi_value_query_string_parameters: Option<Map<'a, Vec<Text<'a>>>>,
    #[serde(borrow)]
    pub(super) request_context: Option<RequestContext<'a>>,
}

/// API Gateway's own data about the request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestContext<'a> {
    #[serde(borrow)]
    pub(super) connection_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) domain_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) event_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) http_method: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) request_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) resource_path: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) route_key: Option<Text<'a>>,
}

impl<'a> Payload<'a> {
    /// # Errors
    /// It is no object, or a member is of another type than in any event of API Gateway.
    pub(super) fn parse(payload: &'a RawValue) -> Result<Self, EventError> {
        // Serde would take an array for a struct, member by position.
        if !payload.get().starts_with('{') {
            return Err(EventError::NotAnAuthorizerEvent);
        }
        serde_json::from_str(payload.get()).map_err(|_| EventError::NotAnAuthorizerEvent)
    }
}

/// One pair for each value. Of a name that a client sent twice, the map of single values has only the last: the other
/// map is what counts, where there is one.
pub(super) fn pairs<'a>(several: Option<Map<'a, Vec<Text<'a>>>>, single: Option<Map<'a, Text<'a>>>) -> Vec<Pair<'a>> {
    match (several, single) {
        (Some(Map(several)), _) => several
            .into_iter()
            .flat_map(|(name, values)| {
                // A name without a value is present nevertheless.
                let nothing = values.is_empty().then_some(Text(Cow::Borrowed("")));
                values.into_iter().chain(nothing).map(move |value| (name.0.clone(), value.0))
            })
            .collect(),
        (None, Some(Map(single))) => single.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
        (None, None) => Vec::new(),
    }
}

/// Text that stays where it is in the payload, unless it has an escape.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl<'a> From<Text<'a>> for Cow<'a, str> {
    fn from(text: Text<'a>) -> Self {
        text.0
    }
}

/// An object's members as they come. A hash map would take time to fill, and a name that comes twice would be there
/// once.
pub(super) struct Map<'a, V>(Vec<(Text<'a>, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Map<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<'a, V>(PhantomData<Map<'a, V>>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for Members<'a, V> {
    type Value = Map<'a, V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        // A request has about as many headers.
        let mut members = Vec::with_capacity(16);
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Map(members))
    }
}
