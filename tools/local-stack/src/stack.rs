//! A whole stack on this machine: DynamoDB Local with the template's tables, keys and demo users, functions, gateway.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sam_template::{Parameters, Template};

use crate::dynamodb_local::{DynamoDbLocal, DynamoDbLocalError, Storage};
use crate::functions::{Functions, FunctionsError, SEALING_KEY, aws_environment};
use crate::gateway::Gateway;
use crate::install::{InstallError, Tools};
use crate::port::{self, PortError};
use crate::process::{self, ProcessError, command, run_logged};
use crate::tables::{self, TablesError};
use crate::{progress, workspace};

/// How long the first request may take: it starts two functions.
const FIRST_REQUEST: Duration = Duration::from_mins(1);

/// Why a stack could not be started, or which of its parts ended.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    #[error("template.yaml cannot be used")]
    Template(#[from] sam_template::Error),
    /// DynamoDB Local.
    #[error("DynamoDB Local could not be started")]
    DynamoDb(#[from] DynamoDbLocalError),
    #[error("the tables could not be created")]
    Tables(#[from] TablesError),
    #[error("the functions could not be started")]
    Functions(#[from] FunctionsError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("the wrapping key {0} cannot be read or created")]
    SealingKey(PathBuf, #[source] io::Error),
    /// Signing in did not work.
    #[error("{what}; the ends of the logs:{logs}")]
    NoLogin {
        /// What happened.
        what: String,
        /// The ends of the logs.
        logs: String,
    },
}

/// The options of a stack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name: the first part of the tables' names.
    pub name: String,
    /// The port of the gateway; any free one if none is given.
    pub port: Option<u16>,
    /// The port at which people may invoke functions; if it is not free, any free one. `None` opens no such
    /// port.
    pub invoke_port: Option<u16>,
    /// Where DynamoDB Local keeps its data.
    pub storage: Storage,
    /// The directory of this run's logs and other files.
    pub directory: PathBuf,
    /// Parameters of the template that differ from their default.
    pub parameters: BTreeMap<String, String>,
    /// Variables of every function in addition to those of the template.
    pub variables: BTreeMap<String, String>,
}

impl Options {
    /// A stack for a test: free ports, data in memory, logs below `.local/test`. All of a run's tests come from one
    /// address.
    #[must_use]
    pub fn for_test(name: &str) -> Self {
        let directory = workspace::local().join("test").join(name);
        let parameters = BTreeMap::from([("FreeAttemptsPerAddress".to_owned(), "100000".to_owned())]);
        // A test takes the role of CloudFormation.
        let variables = BTreeMap::from([("LATCHKEY_LOCAL_RESPONSE_HOST".to_owned(), "127.0.0.1".to_owned())]);
        Self {
            name: name.to_owned(),
            port: None,
            invoke_port: None,
            storage: Storage::Memory,
            directory,
            parameters,
            variables,
        }
    }
}

/// A running stack. Everything ends when it is dropped, the gateway first.
#[derive(Debug)]
pub struct Stack {
    gateway: Gateway,
    functions: Functions,
    dynamodb: DynamoDbLocal,
    options: Options,
    invoke_port: Option<u16>,
    function_names: Vec<String>,
    command_environment: BTreeMap<String, String>,
}

impl Stack {
    /// Starts a stack from binaries that are built, and waits until a login through its gateway has worked.
    ///
    /// # Errors
    /// A part does not start.
    pub fn start(tools: &Tools, options: &Options) -> Result<Self, StackError> {
        let directory = &options.directory;
        let port = match options.port {
            Some(port) => port::must_be_free(port).map(|()| port),
            None => port::free(),
        }?;
        let template = template(&options.name, &options.parameters)?;
        let sealing_key = sealing_key(directory)?;

        let step = progress::step("starting DynamoDB Local");
        let dynamodb = DynamoDbLocal::start(tools, options.storage.clone(), directory.join("dynamodb.log"))?;
        step.done();

        let step = progress::step("creating tables, keys and demo users");
        tables::create(&dynamodb.endpoint(), &template)?;
        let command_environment = command_environment(&template, &dynamodb.endpoint(), &sealing_key)?;
        for arguments in [&["keys", "init"][..], &["demo-users"]] {
            let mut latchkey = command(workspace::binary("latchkey"));
            latchkey.args(arguments).envs(&command_environment);
            let log = directory.join(format!("latchkey-{}.log", arguments[0]));
            run_logged(&format!("latchkey {}", arguments.join(" ")), latchkey, &log)?;
        }
        step.done();

        let step = progress::step("starting the functions and the gateway");
        let functions =
            Functions::start(tools, &template, &dynamodb.endpoint(), &sealing_key, &options.variables, directory)?;
        let invoke_port = match options.invoke_port {
            Some(wanted) if port::must_be_free(wanted).is_ok() => Some(wanted),
            Some(_) => Some(port::free()?),
            None => None,
        };
        let (name, parameters) = (&options.name, &options.parameters);
        let gateway = Gateway::start(name, parameters, &functions.invoke_url(), port, invoke_port, directory)?;
        step.done();

        let options = options.clone();
        let function_names = template.functions()?.into_iter().map(|function| function.binary).collect();
        let mut stack =
            Self { gateway, functions, dynamodb, options, invoke_port, function_names, command_environment };
        let step = progress::step("logging in as alice");
        stack.log_in()?;
        step.done();
        Ok(stack)
    }

    /// The base URL of the API.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.gateway.base_url()
    }

    /// Where the Lambda Invoke API answers.
    #[must_use]
    pub fn invoke_url(&self) -> String {
        self.functions.invoke_url()
    }

    /// The port at which people may invoke functions.
    #[must_use]
    pub fn invoke_port(&self) -> Option<u16> {
        self.invoke_port
    }

    /// The log of all functions.
    #[must_use]
    pub fn functions_log(&self) -> &Path {
        self.functions.log()
    }

    /// The functions of the template, by their binaries.
    #[must_use]
    pub fn function_names(&self) -> &[String] {
        &self.function_names
    }

    #[must_use]
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The log of requests.
    #[must_use]
    pub fn gateway_log(&self) -> &Path {
        self.gateway.log()
    }

    /// DynamoDB Local, which tests stop and pause.
    pub fn dynamodb(&mut self) -> &mut DynamoDbLocal {
        &mut self.dynamodb
    }

    /// The environment in which `latchkey` works on this stack.
    #[must_use]
    pub fn command_environment(&self) -> &BTreeMap<String, String> {
        &self.command_environment
    }

    /// Creates the new tables of a changed template, updates the environments of the functions, and returns the names
    /// of the restarted ones. The gateway reads the template itself.
    ///
    /// # Errors
    /// The template is invalid; nothing has changed then.
    pub fn reload_template(&mut self) -> Result<Vec<String>, StackError> {
        let template = template(&self.options.name, &self.options.parameters)?;
        let sealing_key = sealing_key(&self.options.directory)?;
        tables::create(&self.dynamodb.endpoint(), &template)?;
        Ok(self.functions.reconfigure(&template, &sealing_key)?)
    }

    /// Checks that every part still runs.
    ///
    /// # Errors
    /// One ended.
    pub fn must_run(&mut self) -> Result<(), ProcessError> {
        self.dynamodb.must_run()?;
        self.functions.must_run()?;
        self.gateway.must_run()
    }

    /// Logs in as alice and asks for the protected resource: the main job, once.
    fn log_in(&mut self) -> Result<(), StackError> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(FIRST_REQUEST))
            // This machine is not behind a proxy.
            .proxy(None)
            .build()
            .into();
        let base_url = self.base_url();
        // The request runs beside, so that Ctrl-C and a crash are noticed while it waits.
        let request = std::thread::spawn(move || -> Result<(), String> {
            let failed = |error: ureq::Error| format!("there was no answer from {base_url}: {error}");
            let body = r#"{"username":"alice","password":"password"}"#;
            let url = format!("{base_url}/login");
            let mut login = agent.post(&url).content_type("application/json").send(body).map_err(failed)?;
            let text = login.body_mut().read_to_string().map_err(failed)?;
            if login.status() != 200 {
                return Err(format!("the login of alice was answered with {}: {text}", login.status()));
            }
            let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let token = answer["access_token"].as_str().unwrap_or_default();
            let url = format!("{base_url}/protected-resource");
            let protected =
                agent.get(&url).header("authorization", format!("Bearer {token}")).call().map_err(failed)?;
            if protected.status() != 200 {
                return Err(format!("GET /protected-resource was answered with {}", protected.status()));
            }
            Ok(())
        });
        while !request.is_finished() {
            self.must_run()?;
            crate::process::pause(Duration::from_millis(20))?;
        }
        let outcome = request.join().unwrap_or_else(|_| Err("the first request panicked".to_owned()));
        outcome.map_err(|what| {
            let logs = [self.functions_log(), self.gateway_log()].map(|log| crate::process::tail(Some(log))).concat();
            StackError::NoLogin { what, logs }
        })
    }
}

/// The template with the parameters of a stack on this machine.
///
/// # Errors
/// It cannot be read.
pub fn template(stack_name: &str, values: &BTreeMap<String, String>) -> Result<Template, sam_template::Error> {
    let mut parameters = Parameters::new(stack_name);
    parameters.values.clone_from(values);
    Template::load(&workspace::template(), parameters)
}

/// The variables of the operator's command: where the tables are, and the wrapping key.
fn command_environment(
    template: &Template,
    endpoint: &str,
    sealing_key: &str,
) -> Result<BTreeMap<String, String>, sam_template::Error> {
    let mut environment: BTreeMap<String, String> =
        aws_environment(endpoint).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for function in template.functions()? {
        let variables = template.environment(&function.logical_id)?;
        environment.extend(
            variables
                .into_iter()
                .filter(|(name, _)| name.ends_with("_TABLE_NAME") || name == "LATCHKEY_SIGNING_ALGORITHM"),
        );
    }
    environment.insert(SEALING_KEY.to_owned(), sealing_key.to_owned());
    Ok(environment)
}

/// The key that wraps private keys on this machine: created once, readable only by this user.
fn sealing_key(directory: &Path) -> Result<String, StackError> {
    let file = directory.join("sealing-key");
    let failed = |error| StackError::SealingKey(file.clone(), error);
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(failed),
    }
    fs::create_dir_all(directory).map_err(failed)?;
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).map_err(failed)?;
    let key = STANDARD.encode(bytes);
    let mut output = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(failed)?;
    output.write_all(key.as_bytes()).map_err(failed)?;
    Ok(key)
}

/// The parameters that differ from a deployment: every page may call the API, including one that was opened from a file
/// (`Origin: null`). There are no cookies, so a page gains nothing that it could not do from a server of its own.
#[must_use]
pub fn development_parameters() -> BTreeMap<String, String> {
    BTreeMap::from([("AllowedOrigins".to_owned(), "*".to_owned())])
}

/// Builds every binary in one run, with the features that `cargo lambda watch` will use, so that it does not have
/// to build.
///
/// # Errors
/// The build fails.
pub fn build() -> Result<(), ProcessError> {
    let step = progress::step("building");
    let mut cargo = command("cargo");
    cargo.args(["build", "--workspace"]).current_dir(workspace::root());
    process::run("cargo build", cargo)?;
    step.done();
    Ok(())
}
