//! Reads a SAM template for local tooling: its tables, its functions and their environments, the routes and authorizers
//! of its APIs.
//!
//! The deployed template is the only definition of these things, so that there is no second one to maintain. No network
//! is needed: intrinsics are resolved against parameters, and values that only AWS knows (generated names, ARNs) are
//! replaced by plausible ones.
//!
//! Evaluation is lazy. A parameter without a default and a value is an error only if it is needed.

mod api;
mod authorizers;
mod error;
mod events;
mod functions;
mod globals;
mod http_api;
mod intrinsics;
mod parameters;
mod physical;
mod resolved;
mod rest_api;
mod tables;
mod yaml;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

pub use crate::{
    api::{Api, ApiKind, Authorizer, AuthorizerEvent, Cors, LambdaAuthorizer, Route},
    error::{Error, Problem},
    functions::Function,
    parameters::Parameters,
    tables::Table,
};
use crate::{error::Invalid, resolved::Resolved};

/// A template and the parameters it is read with.
#[derive(Debug)]
pub struct Template {
    path: PathBuf,
    document: Value,
    parameters: Parameters,
    /// What is being evaluated, outermost first, so that a circle is an error and not a stack overflow.
    evaluating: RefCell<Vec<String>>,
}

impl Template {
    /// Reads the template at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, has no resources, or a value was given for a parameter it does not have.
    pub fn load(path: &Path, parameters: Parameters) -> Result<Self, Error> {
        let source = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(path, &source, parameters)
    }

    fn parse(path: &Path, source: &str, parameters: Parameters) -> Result<Self, Error> {
        let document = yaml::parse(source).map_err(|source| Error::Yaml { path: path.to_owned(), source })?;
        let template = Self { path: path.to_owned(), document, parameters, evaluating: RefCell::default() };
        template.check().map_err(|invalid| template.locate(invalid))?;
        Ok(template)
    }

    /// The tables, in alphabetical order of their logical ids.
    ///
    /// # Errors
    /// A table is not as CloudFormation wants it, or needs a parameter that has no value.
    pub fn tables(&self) -> Result<Vec<Table>, Error> {
        tables::read(self).map_err(|invalid| self.locate(invalid))
    }

    /// The functions, in alphabetical order of their logical ids. Their environments are not evaluated.
    ///
    /// # Errors
    /// A function is not as SAM wants it, or does not say which binary it runs.
    pub fn functions(&self) -> Result<Vec<Function>, Error> {
        functions::read(self).map_err(|invalid| self.locate(invalid))
    }

    /// The environment variables of one function, those of `Globals` included.
    ///
    /// # Errors
    /// There is no such function, or a variable is not text or needs a parameter that has no value.
    pub fn environment(&self, logical_id: &str) -> Result<std::collections::BTreeMap<String, String>, Error> {
        functions::environment(self, logical_id).map_err(|invalid| self.locate(invalid))
    }

    /// The HTTP APIs with their routes, in alphabetical order of their logical ids.
    ///
    /// # Errors
    /// An API, an event or an authorizer is not as SAM wants it.
    pub fn http_apis(&self) -> Result<Vec<Api>, Error> {
        http_api::read(self).map_err(|invalid| self.locate(invalid))
    }

    /// The REST APIs with their routes, in alphabetical order of their logical ids.
    ///
    /// # Errors
    /// An API, an event or an authorizer is not as SAM wants it.
    pub fn rest_apis(&self) -> Result<Vec<Api>, Error> {
        rest_api::read(self).map_err(|invalid| self.locate(invalid))
    }

    /// The other APIs of the template, by their place in it: WebSocket APIs, and those defined without SAM.
    ///
    /// # Errors
    /// A resource or event is not as SAM wants it.
    pub fn other_apis(&self) -> Result<Vec<String>, Error> {
        self.others().map_err(|invalid| self.locate(invalid))
    }

    fn others(&self) -> Result<Vec<String>, Invalid> {
        let types = ["AWS::ApiGatewayV2::Api", "AWS::ApiGateway::RestApi"];
        let mut others: Vec<String> = self.resources(&types)?.iter().map(Resource::at).collect();
        for (kind, apis) in [(ApiKind::Http, http_api::read(self)?), (ApiKind::Rest, rest_api::read(self)?)] {
            for event in events::events(self, kind)? {
                let id = event.api_id(self)?;
                if !apis.iter().any(|api| api.id == id) {
                    others.push(event.at);
                }
            }
        }
        Ok(others)
    }

    /// The parameters the template is read with.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn locate(&self, Invalid { at, problem }: Invalid) -> Error {
        Error::Invalid { path: self.path.clone(), at, problem }
    }

    /// An error that concerns every use of the template, found once.
    fn check(&self) -> Result<(), Invalid> {
        if self.section("Resources").is_none_or(Map::is_empty) {
            return Err(Invalid::new("Resources", Problem::NoResources));
        }
        let known = self.section("Parameters");
        for name in self.parameters.values.keys() {
            if !known.is_some_and(|known| known.contains_key(name)) {
                return Err(Invalid::new("Parameters", Problem::UnknownParameter(name.clone())));
            }
        }
        Ok(())
    }

    /// A top-level section, such as `Resources`.
    fn section(&self, name: &str) -> Option<&Map<String, Value>> {
        self.document.get(name)?.as_object()
    }

    /// A resource as written, whether its condition holds or not.
    fn resource(&self, logical_id: &str) -> Option<Resource<'_>> {
        let (logical_id, body) = self.section("Resources")?.get_key_value(logical_id)?;
        Some(Resource { template: self, logical_id, body })
    }

    /// The resources whose type is one of `types` and whose condition holds, in alphabetical order.
    fn resources(&self, types: &[&str]) -> Result<Vec<Resource<'_>>, Invalid> {
        let mut found = Vec::new();
        for (logical_id, _) in sorted(self.section("Resources")) {
            let Some(resource) = self.resource(logical_id) else { continue };
            if types.contains(&resource.kind()) && resource.exists()? {
                found.push(resource);
            }
        }
        Ok(found)
    }

    /// Evaluates `what`, unless it is already being evaluated.
    fn evaluate<T>(
        &self,
        what: String,
        at: &str,
        evaluation: impl FnOnce() -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        if self.evaluating.borrow().contains(&what) {
            return Err(Invalid::new(at, Problem::Circular(what)));
        }
        self.evaluating.borrow_mut().push(what);
        let result = evaluation();
        self.evaluating.borrow_mut().pop();
        result
    }
}

/// The entries of a map in alphabetical order, which the map itself may or may not keep.
fn sorted(map: Option<&Map<String, Value>>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// One entry of `Resources`.
#[derive(Clone, Copy)]
struct Resource<'t> {
    template: &'t Template,
    logical_id: &'t str,
    body: &'t Value,
}

impl Resource<'_> {
    fn kind(&self) -> &str {
        self.body.get("Type").and_then(Value::as_str).unwrap_or_default()
    }

    fn at(&self) -> String {
        format!("Resources.{}", self.logical_id)
    }

    /// Whether the resource's `Condition`, if it has one, holds.
    fn exists(&self) -> Result<bool, Invalid> {
        match self.body.get("Condition").and_then(Value::as_str) {
            Some(name) => self.template.named_condition(name, &format!("{}.Condition", self.at())),
            None => Ok(true),
        }
    }

    /// One property with its intrinsics resolved and `Globals` merged in; the others are not looked at.
    fn property(&self, name: &str) -> Result<Option<Resolved>, Invalid> {
        let at = format!("{}.Properties.{name}", self.at());
        let own = self.body.get("Properties").and_then(|properties| properties.get(name));
        let global = globals::section_for(self.kind())
            .and_then(|section| self.template.section("Globals")?.get(section)?.get(name));
        match globals::merge(global, own) {
            Some(node) => self.template.resolve(&node, at),
            None => Ok(None),
        }
    }
}
