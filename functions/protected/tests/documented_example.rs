//! The function in docs/PROTECTING.md is the one that is compiled, its route is one of the template, and both are
//! short.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use sam_template::{Parameters, Template};

const DOCUMENT: &str = include_str!("../../../docs/PROTECTING.md");

/// The first block of a language.
fn block(language: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

fn lines(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

#[test]
fn the_documented_function_is_the_example() {
    assert_eq!(block("rust"), include_str!("../examples/orders.rs"));
}

#[test]
fn a_protected_function_takes_at_most_25_lines() {
    let (rust, yaml) = (lines(block("rust")), lines(block("yaml")));
    assert!(rust + yaml <= 25, "{rust} of Rust, {yaml} of YAML");
}

#[test]
fn the_documented_resource_is_one_more_route_behind_the_authorizer() {
    let template = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml")).unwrap();
    let extended = template.replacen("\nResources:\n", &format!("\nResources:\n{}\n", block("yaml")), 1);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("template-with-orders.yaml");
    fs::write(&file, extended).unwrap();
    let template = Template::load(&file, Parameters::new("documented")).unwrap();
    let function = template.functions().unwrap().into_iter().find(|function| function.binary == "orders").unwrap();
    assert_eq!(function.logical_id, "OrdersFunction");
    let apis = template.http_apis().unwrap();
    let route = apis[0].routes.iter().find(|route| route.path == "/orders").unwrap();
    assert!(route.authorizer.is_some(), "the API's default authorizer guards it");
}
