//! API Gateway on a laptop, for any SAM template: HTTP APIs and REST APIs.
//!
//! `cargo lambda watch` runs functions, but has no authorizers and no routes of a template. This stands in front of it
//! and does what API Gateway does: routes and CORS from the template, identity sources, the authorizer and its limits,
//! events in payload formats 2.0 and 1.0, answers unwrapped. Functions are called through the Lambda Invoke API.

mod api;
mod authorizer;
mod cors;
mod event;
mod event_v1;
mod front;
mod gateway;
mod identity;
mod invoke;
mod log;
mod path;
mod policy;
mod refusal;
mod reload;
mod request;
mod response;
mod routes;
mod server;

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use sam_template::Parameters;

use crate::{
    api::{Choice, Source},
    gateway::Gateway,
    log::Log,
};

/// Serves the HTTP or REST API of a SAM template, calling its functions through the Lambda Invoke API.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The template.
    #[arg(long, default_value = "template.yaml")]
    template: PathBuf,
    /// The stack's name, as `AWS::StackName` and in the names of resources.
    #[arg(long, default_value = "local")]
    stack_name: String,
    /// A value for a parameter of the template. Can be given many times.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// The logical id of the API to serve, if the template has several.
    #[arg(long)]
    api: Option<String>,
    /// Where the Lambda Invoke API answers.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    invoke_url: String,
    /// How many invocations of a function may run at once; the next one is throttled, as in Lambda. `cargo lambda
    /// watch` hangs with more than about 104.
    #[arg(long, value_name = "NUMBER", default_value_t = 90, value_parser = concurrency)]
    concurrency: usize,
    /// Also accept invocations of functions at this port, for `cargo lambda invoke` and curl, and reject those of web
    /// pages.
    #[arg(long, value_name = "PORT")]
    invoke_port: Option<u16>,
    /// The address to listen at.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen at; 0 is any free port.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Write the log as JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// The domain name in the events of functions, regardless of the Host header.
    #[arg(long, default_value = "localhost")]
    domain_name: String,
    /// Send an HTTP API's CORS headers with the gateway's own answers too: 401, 403, 404, 5xx. AWS documents them for
    /// "the response from an integration"; that it sends them with others is not confirmed.
    #[arg(long)]
    cors_on_own_answers: bool,
}

fn concurrency(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| (1..=10_000).contains(number)).ok_or("expected a number from 1 to 10000")
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The exit code for a command line or template that cannot be used, as clap has it.
const USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {
        template,
        stack_name,
        parameters,
        api,
        invoke_url,
        concurrency,
        invoke_port,
        host,
        port,
        json,
        domain_name,
        cors_on_own_answers,
    } = Arguments::parse();
    let address = SocketAddr::new(host, port);
    let mut known = Parameters::new(stack_name);
    known.values.extend(parameters);
    let source = Source { template, parameters: known, choice: Choice { api, domain_name, invoke_url, concurrency } };
    if let Some(port) = invoke_port {
        let address = SocketAddr::new(host, port);
        if let Err(error) = front::start(address, &source.choice.invoke_url).await {
            eprintln!("gateway: cannot listen on port {port} of {host} ({error}); choose another with --invoke-port");
            return ExitCode::FAILURE;
        }
    }
    let watch = reload::Watch::new(&source.template);
    let (api, notices) = match source.read() {
        Ok(read) => read,
        Err(error) => return fail(&error, USAGE),
    };
    log::notice(&notices);
    let gateway = Arc::new(Gateway::new(api, Log::to_stdout(json), cors_on_own_answers));
    tokio::spawn(watch.follow(source, Arc::clone(&gateway)));
    match server::serve(gateway, address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &(dyn Error + 'static), code: u8) -> ExitCode {
    eprintln!("gateway: {}", log::chain(error));
    ExitCode::from(code)
}
