//! A deployment by the SAM CLI, in an emulator of AWS.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use local_stack::emulator::Emulator;
use local_stack::process::command;
use local_stack::{install, workspace};
use serde_json::{Map, Value};

use crate::local::run_latchkey;
use crate::{Answer, Client};

/// An account of AWS on this machine.
#[derive(Debug)]
pub struct Aws {
    emulator: Emulator,
}

impl Aws {
    /// An empty account, below `.local/test`. `variables` are those of `xtask/aws/emulator.py`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let directory = workspace::local().join("test").join(name);
        let _ = fs::remove_dir_all(&directory);
        let emulator = Emulator::start(&directory, variables);
        Self { emulator: emulator.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error))) }
    }

    #[must_use]
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// A client of the API that was deployed last.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.emulator.api_url())
    }

    /// Runs the SAM CLI at the root of the checkout, and answers "y" to every prompt.
    ///
    /// # Panics
    /// It cannot be run.
    #[must_use]
    pub fn sam(&self, arguments: &[&str]) -> Output {
        let mut sam = command(install::sam().expect("the SAM CLI is installed"));
        sam.args(arguments).envs(self.emulator.environment()).env("SAM_CLI_TELEMETRY", "0");
        sam.current_dir(workspace::root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = sam.spawn().expect("the SAM CLI starts");
        // Without a prompt it ends before it reads.
        let _ = child.stdin.take().map(|mut input| input.write_all(b"y\ny\ny\n"));
        child.wait_with_output().expect("the SAM CLI ends")
    }

    /// The same, and it must succeed.
    ///
    /// # Panics
    /// It fails.
    pub fn sam_succeeds(&self, arguments: &[&str]) {
        let output = self.sam(arguments);
        let text = text_of(&output);
        assert!(output.status.success(), "sam {}:\n{text}", arguments.join(" "));
    }

    /// `sam deploy` of what was built in a directory, for a configuration of `samconfig.toml`, with these parameters in
    /// place of the configuration's.
    ///
    /// # Panics
    /// It fails.
    pub fn deploy(&self, build: &Path, environment: &str, parameters: &str) {
        let template = build.join("template.yaml");
        let configuration = workspace::root().join("samconfig.toml");
        let (template, configuration) = (template.to_string_lossy(), configuration.to_string_lossy());
        let arguments = [
            "deploy",
            "--template-file",
            &template,
            "--config-file",
            &configuration,
            "--config-env",
            environment,
            "--no-fail-on-empty-changeset",
        ];
        self.sam_succeeds(&[&arguments[..], &["--parameter-overrides", parameters]].concat());
    }

    /// Runs a script of Python, with boto3, as the account's root user.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn python(&self, arguments: &[&str]) -> String {
        let mut python = command(install::aws_python().expect("Python is installed"));
        python.args(arguments).envs(self.emulator.environment()).current_dir(workspace::root());
        let output = python.output().expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("what Python writes is text")
    }

    /// The state of a stack.
    ///
    /// # Panics
    /// There is no such stack.
    #[must_use]
    pub fn describe(&self, stack: &str) -> Stack {
        let told = self.python(&["e2e/rehearsal/describe.py", stack]);
        Stack(serde_json::from_str(&told).expect("describe.py writes JSON"))
    }

    /// The operator's command with the variables that the stack's output `NextStep` names. It must succeed.
    ///
    /// # Panics
    /// It fails.
    pub fn latchkey(&self, stack: &Stack, arguments: &[&str], input: &str) {
        self.latchkey_with(stack, &[], arguments, input);
    }

    /// The same, with more variables.
    ///
    /// # Panics
    /// It fails.
    pub fn latchkey_with(&self, stack: &Stack, variables: &[(&str, &str)], arguments: &[&str], input: &str) {
        let mut environment = self.command_environment(stack);
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let output = run_latchkey(&workspace::binary("latchkey"), &environment, arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// What the operator's command works with: the variables of `NextStep`, and access to the account.
    ///
    /// # Panics
    /// There is no such output.
    #[must_use]
    pub fn command_environment(&self, stack: &Stack) -> BTreeMap<String, String> {
        let next_step = stack.output("NextStep");
        assert!(next_step.ends_with("latchkey user add admin --role admin"), "{next_step}");
        let named = next_step.split(' ').filter_map(|word| word.split_once('='));
        let named = named.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let of_aws = self.emulator.environment().map(|(name, value)| (name.to_owned(), value));
        // `latchkey demo-users` accepts only this machine's name.
        let here = ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.emulator.endpoint());
        named.chain(of_aws).chain([here]).collect()
    }

    /// Every line that functions wrote so far.
    ///
    /// # Panics
    /// The log cannot be read.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        lines_of(&self.emulator.functions_log())
    }

    /// Every decision of IAM about a call of a role so far.
    ///
    /// # Panics
    /// They cannot be read.
    #[must_use]
    pub fn calls(&self) -> Vec<Value> {
        let lines = lines_of(&self.emulator.calls());
        lines.iter().map(|line| serde_json::from_str(line).expect("the emulator writes JSON")).collect()
    }

    /// Retries until a response has this status: functions restart after a change of their configuration.
    ///
    /// # Panics
    /// It has another for a minute.
    pub fn until(&self, status: u16, ask: impl Fn() -> Answer) -> Answer {
        let begun = Instant::now();
        loop {
            let answer = ask();
            if answer.status == status {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "no {status} for a minute, but {answer:?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// The output of `describe.py` for a stack.
#[derive(Clone, Debug)]
pub struct Stack(pub Value);

impl Stack {
    /// One of its outputs.
    ///
    /// # Panics
    /// There is no such output.
    #[must_use]
    pub fn output(&self, name: &str) -> &str {
        self.0["outputs"][name].as_str().unwrap_or_else(|| panic!("no output {name} in {}", self.0["outputs"]))
    }

    /// Its parts of a kind, by their logical ids.
    ///
    /// # Panics
    /// There is no such kind.
    #[must_use]
    pub fn parts(&self, kind: &str) -> &Map<String, Value> {
        self.0[kind].as_object().unwrap_or_else(|| panic!("no {kind} in {}", self.0))
    }

    /// Its resources: logical id, type and status of each.
    ///
    /// # Panics
    /// They are not told.
    #[must_use]
    pub fn resources(&self) -> Vec<[String; 3]> {
        serde_json::from_value(self.0["resources"].clone()).expect("resources are told")
    }
}

/// The output of a command.
#[must_use]
pub fn text_of(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn lines_of(file: &PathBuf) -> Vec<String> {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}
