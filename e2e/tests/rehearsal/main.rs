//! The whole template, deployed by the SAM CLI in an independent emulator of AWS, through the whole life of a
//! stack.
//!
//! `cargo xtask rehearse` runs it, after it has built what is deployed.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it prints what it found")]

mod flow;
mod made;
mod roles;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::deployment::{Aws, Stack, text_of};
use e2e::{Client, Tokens, unverified};
use local_stack::process::command;
use local_stack::workspace;
use serde_json::{Value, json};

/// The tests that only use the HTTP API.
const HTTP_TESTS: [&str; 7] = ["account", "attacks", "cors", "flow", "login", "refusals", "token"];

/// The parameters of a configuration of samconfig.toml.
fn configured(environment: &str) -> String {
    let text = fs::read_to_string(workspace::root().join("samconfig.toml")).unwrap();
    let (_, section) = text.split_once(&format!("[{environment}.deploy.parameters]")).unwrap();
    let line = section.lines().find_map(|line| line.strip_prefix("parameter_overrides = ")).unwrap();
    line.trim_matches('"').to_owned()
}

/// What `dev` sets, and no throttle: all of a run's requests come from one address.
fn dev() -> String {
    configured("dev") + " FreeAttemptsPerAddress=100000"
}

/// A build that `cargo xtask rehearse` made: a template, and a directory with the bootstrap of each function.
fn build(name: &str) -> PathBuf {
    let builds = std::env::var_os("LATCHKEY_BUILDS");
    PathBuf::from(builds.expect("LATCHKEY_BUILDS is not set: run `cargo xtask rehearse`")).join(name)
}

/// The same build with another template.
fn build_with(name: &str, change: impl FnOnce(String) -> String) -> PathBuf {
    let (source, changed) = (build("here"), build(name));
    fs::create_dir_all(&changed).unwrap();
    for entry in fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        let link = changed.join(entry.file_name());
        if entry.path().is_dir() && !link.exists() {
            std::os::unix::fs::symlink(entry.path(), link).unwrap();
        }
    }
    let template = fs::read_to_string(source.join("template.yaml")).unwrap();
    fs::write(changed.join("template.yaml"), change(template)).unwrap();
    changed
}

/// The output of `sam build` is deployed and run: under QEMU if this machine has another
/// processor.
#[test]
#[ignore = "it needs what `cargo xtask rehearse` builds"]
fn sam_deploy_makes_the_whole_stack_and_its_functions_do_all_their_work() {
    // IAM knows new roles late, and a day of the schedule is a minute.
    let aws = Aws::start("rehearsal", &[("IAM_DELAY_SECONDS", "10"), ("DAY_SECONDS", "60")]);
    let begun = Instant::now();
    aws.sam_succeeds(&["deploy", "--config-env", "dev"]);
    println!("sam deploy --config-env dev: {:.0} s", begun.elapsed().as_secs_f64());
    let stack = aws.describe("latchkey-dev");
    made::must_be_whole(&stack);
    made::archives_must_be_small(&stack);
    let refused = aws.calls().iter().filter(|call| call["allowed"] == false).count();
    assert!(refused > 0, "no call came before its role was known");
    println!("the first keys were created after {refused} refused calls: the role was not known yet");
    // The last role is known by then.
    std::thread::sleep(Duration::from_secs(10));

    let begun = Instant::now();
    flow::run_all_of_it(&aws, &stack);
    println!("everything that a session can meet: {:.0} s", begun.elapsed().as_secs_f64());
    flow::the_schedule_fires(&aws);
    made::metrics_are_written(&aws);
    let findings = roles::compared_with_calls(&aws, &stack, 0, |_| true);
    assert!(findings.is_empty(), "{findings:#?}");
}

/// A stack of the previous release with everything in it becomes one of this release, goes back, and comes again.
#[test]
#[ignore = "it needs what `cargo xtask rehearse` builds"]
fn an_update_keeps_users_sessions_counters_and_keys_and_can_be_taken_back() {
    let aws = Aws::start("rehearsal-update", &[]);
    aws.deploy(&build("before"), "dev", &dev());
    let stack = aws.describe("latchkey-dev");
    aws.latchkey(&stack, &["user", "add", "admin", "--role", "admin"], flow::PASSWORD);
    let mut held = Held::of(&aws, &stack);
    let kept = aws.python(&["-c", ACCESS_LOG_GROUPS]);
    for (release, name) in
        [("here", "this release"), ("before", "the previous release"), ("here", "this release again")]
    {
        if release == "before" {
            // docs/OPERATIONS.md: the kept log group has the name of the one that the previous release makes.
            let _ = aws.python(&["-c", DELETE_KEPT_LOG_GROUP]);
        }
        aws.deploy(&build(release), "dev", &dev());
        let stack = aws.describe("latchkey-dev");
        held = held.still_used(&aws, &stack);
        println!("after an update to {name}: users, sessions, counters and keys are as they were");
    }
    // docs/OPERATIONS.md: what the previous release counted by name is deleted.
    let stack = aws.describe("latchkey-dev");
    assert!(held.counters.contains("account#carol"), "{}", held.counters);
    aws.latchkey(&stack, &["user", "prune-attempts"], "");
    let counters = Held::counters(&aws, &stack);
    assert!(!counters.contains("account#") && counters.contains("user#"), "{counters}");
    // The log of requests has another name since; the old one is kept.
    let groups = aws.python(&["-c", ACCESS_LOG_GROUPS]);
    assert!(groups.contains(kept.trim()) && groups.contains("/aws/vendedlogs/apigateway/latchkey-dev"), "{groups}");
}

const ACCESS_LOG_GROUPS: &str = "import boto3; \
    groups = boto3.client('logs').describe_log_groups()['logGroups']; \
    print(*[group['logGroupName'] for group in groups if 'apigateway' in group['logGroupName']])";
const DELETE_KEPT_LOG_GROUP: &str =
    "import boto3; boto3.client('logs').delete_log_group(logGroupName='/aws/apigateway/latchkey-dev')";
const COUNTERS: &str = "import boto3, sys; \
    items = boto3.client('dynamodb').scan(TableName=sys.argv[1])['Items']; \
    print(*sorted(item['counter']['S'] for item in items))";

/// State of users and of the stack, which must be kept.
struct Held {
    client: Client,
    alice: Tokens,
    /// The token of another session, from before anything was updated.
    first: Tokens,
    counters: String,
    keys: BTreeSet<String>,
}

impl Held {
    fn of(aws: &Aws, stack: &Stack) -> Self {
        let client = aws.client();
        for name in ["alice", "carol"] {
            assert_eq!(flow::register(&client, name).status, 201);
        }
        for _ in 0..3 {
            assert_eq!(client.login("carol", "wrong").status, 401);
        }
        let alice = client.tokens(("alice", flow::PASSWORD));
        let first = client.tokens(("alice", flow::PASSWORD));
        let counters = Self::counters(aws, stack);
        assert!(!counters.trim().is_empty());
        Self { alice, first, counters, keys: Self::keys(&client), client }
    }

    fn counters(aws: &Aws, stack: &Stack) -> String {
        aws.python(&["-c", COUNTERS, stack.output("LoginAttemptsTableName")])
    }

    fn keys(client: &Client) -> BTreeSet<String> {
        let published = published(client);
        published["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// Uses all of it, and returns the state afterwards.
    fn still_used(self, aws: &Aws, stack: &Stack) -> Self {
        let Self { client, alice, first, counters, keys } = self;
        let me = aws.until(200, || client.get("/me", &alice.access));
        assert_eq!(me.json()["username"], "alice");
        assert_eq!(client.get("/me", &first.access).status, 200);
        let alice = Tokens::of(&aws.until(200, || client.refresh(&alice.refresh)));
        assert_eq!(client.get("/me", &alice.access).status, 200);
        aws.until(200, || client.login("alice", flow::PASSWORD));
        let sessions = client.get("/sessions", &alice.access).json();
        let sids: BTreeSet<_> =
            sessions["sessions"].as_array().unwrap().iter().map(|session| session["sid"].clone().to_string()).collect();
        for tokens in [&alice, &first] {
            assert!(sids.contains(&json!(tokens.sid()).to_string()), "{sessions}");
        }
        // Counters are kept; a release that counts by other keys adds its own.
        let (before, counters) = (counters, Self::counters(aws, stack));
        assert!(before.split(' ').all(|counter| counters.contains(counter.trim())), "{before}{counters}");
        assert_eq!(Self::keys(&client), keys);
        Self { client, alice, first, counters, keys }
    }
}

fn published(client: &Client) -> Value {
    client.send("GET", "/.well-known/jwks.json", &[], "").json()
}

/// The tests over HTTP pass against the emulator's API, and updates of the template take effect.
#[test]
#[ignore = "it needs what `cargo xtask rehearse` builds"]
fn the_tests_over_http_pass_and_changes_of_parameters_take_effect() {
    let aws = Aws::start("rehearsal-http", &[]);
    aws.deploy(&build("here"), "dev", &dev());
    let stack = aws.describe("latchkey-dev");
    aws.latchkey(&stack, &["demo-users"], "");
    http_tests_pass(&aws, &stack);

    // Another algorithm, by an update: its key is published, and signs a day later or when an operator says so. Older
    // tokens stay valid.
    let client = aws.client();
    let alice = client.tokens(e2e::ALICE);
    assert_eq!(unverified(&alice.access).0["alg"], "ES256");
    aws.deploy(&build("here"), "dev", &format!("{} SigningAlgorithm=RS256", dev()));
    are_published(&client, &["ES256", "RS256"]);
    let issued = issued_with(&aws, &stack, "RS256");
    for tokens in [&alice, &issued] {
        assert_eq!(aws.until(200, || client.get("/me", &tokens.access)).json()["username"], "alice");
    }

    // With HS256, functions that verify get secrets, and permissions to unwrap them, that they have in no other
    // deployment.
    aws.deploy(&build("here"), "dev", &format!("{} SigningAlgorithm=HS256 Hs256=accepted", dev()));
    let before = aws.calls().len();
    let issued = issued_with(&aws, &stack, "HS256");
    aws.until(200, || client.get("/me", &issued.access));
    let admin = client.access_token(e2e::ADMIN);
    assert_eq!(unverified(&admin).0["alg"], "HS256");
    let introspected = client.post_form("/introspect", Some(&admin), &[("token", &issued.access)]);
    assert_eq!(introspected.json()["active"], true);
    // A secret is not published.
    are_published(&client, &["ES256", "RS256"]);
    let stack = aws.describe("latchkey-dev");
    let findings = roles::compared_with_calls(&aws, &stack, before, |function| function == "AuthorizerFunction");
    assert!(findings.is_empty(), "{findings:#?}");

    what_roles_lack_and_have_too_much_is_found(&aws);

    // The API at a domain name alone, without pages of other origins, with cached decisions.
    let alone =
        "ExecuteApiEndpoint=disabled Issuer=https://login.example.com AllowedOrigins=\"\" AuthorizerCacheSeconds=60";
    aws.deploy(&build("here"), "dev", &format!("{} {alone}", dev()));
    let stack = aws.describe("latchkey-dev");
    let api = &stack.parts("apis")["Api"];
    assert_eq!((&api["DisableExecuteApiEndpoint"], &api["CorsConfiguration"]), (&json!(true), &Value::Null));
    assert_eq!(api["authorizers"][0]["AuthorizerResultTtlInSeconds"], 60);
    assert_eq!(stack.output("ApiUrl"), "https://login.example.com");

    // What is deleted, and what is left.
    aws.sam_succeeds(&["delete", "--stack-name", "latchkey-dev", "--no-prompts", "--region", "eu-west-1"]);
    let left = aws.python(&["-c", LEFT]);
    println!("\nleft after sam delete: {left}");
    for (kind, kept) in [("table", "UsersTable"), ("table", "SigningKeysTable"), ("key", "Enabled")] {
        assert!(left.contains(&format!("{kind} ")) && left.contains(kept), "{left}");
    }
    for gone in ["SessionsTable", "DenylistTable", "LoginAttemptsTable", "function ", "api ", "role "] {
        assert!(!left.contains(gone), "{gone} is left: {left}");
    }
}

/// Creates a key of an algorithm that signs immediately, and returns tokens of alice that are signed with it.
fn issued_with(aws: &Aws, stack: &Stack, algorithm: &str) -> Tokens {
    let rotate = ["keys", "rotate", "--now", "--purpose", "access-token"];
    aws.latchkey_with(stack, &[("LATCHKEY_SIGNING_ALGORITHM", algorithm)], &rotate, "");
    let (client, begun) = (aws.client(), Instant::now());
    loop {
        let tokens = Tokens::of(&aws.until(200, || client.login(e2e::ALICE.0, e2e::ALICE.1)));
        if unverified(&tokens.access).0["alg"] == algorithm {
            return tokens;
        }
        // Functions read the keys again after a minute.
        assert!(begun.elapsed() < Duration::from_mins(2), "no token is signed with {algorithm}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Waits until there are public keys of these algorithms, and of no others.
fn are_published(client: &Client, algorithms: &[&str]) {
    let begun = Instant::now();
    loop {
        let keys = published(client);
        let found: BTreeSet<_> =
            keys["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
        if found.iter().eq(algorithms) {
            return;
        }
        // Functions read the keys again after a minute.
        assert!(begun.elapsed() < Duration::from_mins(2), "{found:?} are published, and not {algorithms:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

const PURPOSES: &str = "import boto3, sys; \
    items = boto3.client('dynamodb').scan(TableName=sys.argv[1])['Items']; \
    print(*sorted({item['purpose']['S'] for item in items if 'sealed_private_key' in item}))";

/// Tables, keys, functions, APIs and roles of the stacks of this project.
const LEFT: &str = "import boto3; c = boto3.client; \
    print(*['table ' + it for it in c('dynamodb').list_tables()['TableNames']], \
    *['key ' + c('kms').describe_key(KeyId=it['KeyId'])['KeyMetadata']['KeyState'] for it in c('kms').list_keys()['Keys']], \
    *['function ' + it['FunctionName'] for it in c('lambda').list_functions()['Functions']], \
    *['api ' + it['ApiId'] for it in c('apigatewayv2').get_apis()['Items']], \
    *['role ' + it['RoleName'] for it in c('iam').list_roles()['Roles'] if it['RoleName'].startswith('latchkey')], sep='; ')";

/// Runs the tests over HTTP against the emulator's API.
fn http_tests_pass(aws: &Aws, stack: &Stack) {
    let mut tests = command(env!("CARGO"));
    tests.args(["test", "--quiet", "--package", "e2e"]).args(HTTP_TESTS.iter().flat_map(|test| ["--test", test]));
    tests.current_dir(workspace::root()).envs(aws.command_environment(stack));
    // There is no log of our gateway.
    let nothing = workspace::local().join("test/rehearsal-http/gateway.log");
    fs::write(&nothing, "").unwrap();
    tests
        .env("LATCHKEY_BASE_URL", aws.emulator().api_url())
        .env("LATCHKEY_FUNCTIONS_LOG", aws.emulator().functions_log())
        .env("LATCHKEY_GATEWAY_LOG", nothing);
    let begun = Instant::now();
    let output = tests.output().unwrap();
    let text = text_of(&output);
    println!("{text}");
    assert!(output.status.success(), "the tests over HTTP do not pass against the emulator's API");
    println!("the tests over HTTP ({}): {:.0} s", HTTP_TESTS.join(", "), begun.elapsed().as_secs_f64());
}

/// Two errors in roles that SAM, CloudFormation and every linter accept: a missing permission, and an unused one.
fn what_roles_lack_and_have_too_much_is_found(aws: &Aws) {
    let broken = build_with("broken", |template| {
        let reads_denylist = "              - Sid: ReadDenylist\n                Effect: Allow\n                Action: dynamodb:Query\n";
        let writes_log = "                Resource: !GetAtt ProtectedLogGroup.Arn\n";
        let more = "              - Sid: NobodyAsks\n                Effect: Allow\n                Action: dynamodb:GetItem\n                Resource: !GetAtt UsersTable.Arn\n";
        assert!(template.contains(reads_denylist) && template.contains(writes_log), "the template has changed");
        template
            .replace(reads_denylist, &reads_denylist.replace("dynamodb:Query", "dynamodb:GetItem"))
            .replace(writes_log, &format!("{writes_log}{more}"))
    });
    aws.deploy(&broken, "dev", &dev());
    let (client, before) = (aws.client(), aws.calls().len());
    let access = Tokens::of(&aws.until(200, || client.login(e2e::ALICE.0, e2e::ALICE.1))).access;
    aws.until(500, || client.get("/me", &access));
    let findings = roles::compared_with_calls(aws, &aws.describe("latchkey-dev"), before, |function| {
        ["AuthorizerFunction", "ProtectedFunction"].contains(&function)
    });
    for wanted in ["refused: AuthorizerFunction: dynamodb:Query", "never asked: ProtectedFunction: dynamodb:GetItem"] {
        assert!(findings.iter().any(|finding| finding.starts_with(wanted)), "no {wanted} in {findings:#?}");
    }
}

/// `prod` as it is written, in an account that may run a thousand functions at once.
#[test]
#[ignore = "it needs what `cargo xtask rehearse` builds"]
fn prod_is_deployed_as_it_is_written() {
    let aws = Aws::start("rehearsal-prod-as-written", &[]);
    aws.deploy(&build("here"), "prod", &configured("prod"));
    let stack = aws.describe("latchkey");
    assert_eq!(stack.0["status"], "CREATE_COMPLETE");
    assert!(stack.parts("log_groups").values().all(|group| group["retentionInDays"] == 365));
}

/// A failed first deployment of `prod` is deleted, and the next one succeeds; then the tables are protected.
#[test]
#[ignore = "it needs what `cargo xtask rehearse` builds"]
fn a_failed_first_deployment_can_be_repeated_and_then_protected() {
    let aws = Aws::start("rehearsal-prod", &[("ACCOUNT_CONCURRENCY", "10")]);
    let template = build("here").join("template.yaml");
    let configuration = workspace::root().join("samconfig.toml");
    let (template, configuration) = (template.to_string_lossy(), configuration.to_string_lossy());
    let output =
        aws.sam(&["deploy", "--template-file", &template, "--config-file", &configuration, "--config-env", "prod"]);
    let text = text_of(&output);
    // The SAM CLI breaks the reason into a column.
    assert!(!output.status.success() && text.contains("CREATE_FAILED") && text.contains("UnreservedCo"), "{text}");
    let left = aws.python(&["-c", LEFT]);
    println!("left of the first deployment, which failed: {left:?}");
    for kind in ["table ", "function ", "api ", "role "] {
        assert!(!left.contains(kind), "{left}");
    }

    // Then with the limits of such an account, and at first with keys of one purpose.
    let prod = configured("prod")
        .replace("HashingConcurrency=20", "HashingConcurrency=0")
        .replace("AuthorizerConcurrency=100", "AuthorizerConcurrency=0");
    assert_ne!(prod, configured("prod"));
    let one_purpose = build_with("one-purpose", |template| {
        let (listed, joined) = (
            "Purposes: [access-token, refresh-token, login-attempts]",
            "LATCHKEY_KEY_PURPOSES: access-token,refresh-token,login-attempts",
        );
        assert!(template.contains(listed) && template.contains(joined), "the template has changed");
        template.replace(listed, "Purposes: [access-token]").replace(joined, "LATCHKEY_KEY_PURPOSES: access-token")
    });
    aws.deploy(&one_purpose, "prod", &prod);
    let stack = aws.describe("latchkey");
    assert_eq!(stack.0["status"], "CREATE_COMPLETE");
    assert!(stack.output("UnprotectedTables").contains("DeletionProtection=enabled"));
    let purposes = |stack: &Stack| aws.python(&["-c", PURPOSES, stack.output("SigningKeysTableName")]);
    assert_eq!(purposes(&stack).trim(), "access-token");
    aws.latchkey(&stack, &["user", "add", "admin", "--role", "admin"], flow::PASSWORD);

    // An update makes the keys that are missing, and protects the tables.
    aws.deploy(&build("here"), "prod", &format!("{prod} DeletionProtection=enabled"));
    let stack = aws.describe("latchkey");
    assert_eq!(purposes(&stack).trim(), "access-token login-attempts refresh-token");
    let client = aws.client();
    let admin = Tokens::of(&aws.until(200, || client.login("admin", flow::PASSWORD)));
    assert_eq!(aws.until(200, || client.get("/me", &admin.access)).json()["username"], "admin");
    assert!(stack.parts("tables").values().all(|table| table["DeletionProtectionEnabled"] == true));
    assert_eq!(stack.0["outputs"]["UnprotectedTables"], Value::Null);

    // A parameter that is not named keeps its value.
    aws.deploy(&build("here"), "prod", &prod);
    let stack = aws.describe("latchkey");
    assert!(stack.parts("tables").values().all(|table| table["DeletionProtectionEnabled"] == true));

    // Deleting it by mistake keeps the data.
    let _ = aws.sam(&["delete", "--stack-name", "latchkey", "--no-prompts", "--region", "eu-west-1"]);
    let left = aws.python(&["-c", LEFT]);
    println!("left after sam delete of protected tables: {left}");
    for table in stack.parts("tables").keys() {
        assert!(left.contains(table.as_str()), "{table} is gone: {left}");
    }
}
