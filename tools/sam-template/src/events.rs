//! From the events of functions to the routes of HTTP and REST APIs. An event names its API, or belongs to the one that
//! SAM then adds ([`ApiKind::implicit_id`]).

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    Resource, Route, Template,
    api::{Api, ApiKind},
    authorizers::known_authorizer,
    error::{Invalid, Problem},
    functions,
    resolved::Resolved,
    sorted,
};

/// An event of a function, before its API is known.
pub(crate) struct Event<'t> {
    kind: ApiKind,
    function: &'t str,
    pub(crate) at: String,
    properties: Option<Resolved>,
    /// Its `ApiId` or `RestApiId`; `None` is the API that SAM adds.
    pub(crate) api: Option<Resolved>,
}

/// The events of all functions for this kind of API.
pub(crate) fn events(template: &Template, kind: ApiKind) -> Result<Vec<Event<'_>>, Invalid> {
    let (event_type, api_property) = match kind {
        ApiKind::Http => ("HttpApi", "ApiId"),
        ApiKind::Rest => ("Api", "RestApiId"),
    };
    let mut found = Vec::new();
    for resource in template.resources(&[functions::TYPE])? {
        let events = sorted(resource.body.pointer("/Properties/Events").and_then(Value::as_object));
        for (name, event) in events {
            if event.get("Type").and_then(Value::as_str) != Some(event_type) {
                continue;
            }
            let at = format!("{}.Properties.Events.{name}", resource.at());
            let properties = match event.get("Properties") {
                Some(properties) => template.resolve(properties, format!("{at}.Properties"))?,
                None => None,
            };
            let api = properties.as_ref().and_then(|properties| properties.get(api_property));
            found.push(Event { kind, function: resource.logical_id, at, properties, api });
        }
    }
    Ok(found)
}

/// The APIs of a kind, with the routes of all events. `api` reads one resource.
pub(crate) fn apis(
    template: &Template,
    kind: ApiKind,
    api: fn(&Resource<'_>) -> Result<Api, Invalid>,
) -> Result<Vec<Api>, Invalid> {
    let events = events(template, kind)?;
    let mut apis = template.resources(&[kind.resource_type()])?.iter().map(api).collect::<Result<Vec<_>, _>>()?;
    let implicit = json!({ "Type": kind.resource_type() });
    if events.iter().any(|event| event.api.is_none()) && template.resource(kind.implicit_id()).is_none() {
        // It has no properties of its own, but `Globals` applies to it.
        apis.push(api(&Resource { template, logical_id: kind.implicit_id(), body: &implicit })?);
    }
    for event in events {
        let id = event.api_id(template)?;
        // An event may be of an API without SAM.
        if let Some(api) = apis.iter_mut().find(|api| api.id == id) {
            event.add_to(api)?;
        }
    }
    apis.sort_by(|one, other| one.logical_id.cmp(&other.logical_id));
    Ok(apis)
}

impl Event<'_> {
    /// The id of the API the event belongs to.
    pub(crate) fn api_id(&self, template: &Template) -> Result<String, Invalid> {
        if let Some(api) = &self.api {
            return api.text();
        }
        Ok(template.physical_name(self.kind.implicit_id(), &self.at)?.unwrap_or_default())
    }

    fn property(&self, name: &str) -> Option<Resolved> {
        self.properties.as_ref().and_then(|properties| properties.get(name))
    }

    fn required(&self, name: &str) -> Result<Resolved, Invalid> {
        let missing = || Invalid::new(format!("{}.Properties", self.at), Problem::Missing(name.to_owned()));
        self.property(name).ok_or_else(missing)
    }

    /// Adds the event's route to its API.
    pub(crate) fn add_to(&self, api: &mut Api) -> Result<(), Invalid> {
        let path = match self.property("Path") {
            None if self.kind == ApiKind::Rest || self.property("Method").is_some() => {
                return self.required("Path").map(drop);
            }
            None => "$default".to_owned(),
            Some(path) => path.text()?,
        };
        let method = if path == "$default" { "ANY".to_owned() } else { method_of(&self.required("Method")?)? };
        if path != "$default" && !path.starts_with('/') {
            return Err(Invalid::expected(format!("{}.Properties.Path", self.at), "a path that starts with /"));
        }
        if self.property("RouteSettings").is_some() {
            api.unread.push(format!("{}.Properties.RouteSettings", self.at));
        }
        let timeout = self.property("TimeoutInMillis").map(|timeout| timeout.unsigned()).transpose()?;
        let authorizer = match self.property("Auth").and_then(|auth| auth.get("Authorizer")) {
            Some(own) if own.value == "NONE" => None,
            Some(own) => Some(known_authorizer(&own, &api.authorizers)?),
            None => api.default_authorizer.clone(),
        };
        api.routes.push(Route {
            method,
            path,
            function: self.function.to_owned(),
            authorizer,
            payload_format_version: match (self.kind, self.property("PayloadFormatVersion")) {
                (ApiKind::Rest, _) => "1.0".to_owned(),
                (ApiKind::Http, None) => "2.0".to_owned(),
                (ApiKind::Http, Some(version)) => version.text()?,
            },
            timeout: timeout.map(Duration::from_millis),
        });
        Ok(())
    }
}

fn method_of(method: &Resolved) -> Result<String, Invalid> {
    let method = method.text()?.to_uppercase();
    Ok(if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" { "ANY".to_owned() } else { method })
}
