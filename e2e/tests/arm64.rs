//! The bootstraps for Graviton, run: under QEMU where this machine is of another kind.
//!
//! `cargo xtask rehearse` runs it, after it has packaged the functions.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it says what it skips")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::local::{invoke_at, latchkey_in, packages, sample_event};
use e2e::unverified;
use serde_json::{Value, json};
use xtask::dynamodb_local::{DynamoDbLocal, Storage};
use xtask::functions::aws_environment;
use xtask::install::Tools;
use xtask::process::{Supervised, command};
use xtask::{port, rehearse, stack, tables, workspace};

/// Where Debian's `libc6-arm64-cross` and `libgcc-s1-arm64-cross` are.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// What runs a bootstrap: itself, or QEMU with the C library of the other processor. `None` where there is none.
fn runner(bootstrap: &Path) -> Option<(PathBuf, Vec<String>)> {
    if cfg!(target_arch = "aarch64") {
        return Some((bootstrap.to_owned(), Vec::new()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let qemu =
        std::env::split_paths(&path).map(|directory| directory.join("qemu-aarch64")).find(|file| file.is_file())?;
    let has_libraries =
        ["libc.so.6", "libgcc_s.so.1"].iter().all(|library| Path::new(LIBRARIES).join("lib").join(library).exists());
    has_libraries.then(|| (qemu, vec!["-L".to_owned(), LIBRARIES.to_owned(), bootstrap.display().to_string()]))
}

#[test]
#[ignore = "it needs the packages: `cargo xtask rehearse` makes them and runs it"]
fn login_and_authorizer_answer_an_event_each() {
    const NAME: &str = "arm64";
    let directory = workspace::local().join("test").join(NAME);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let packages = packages();
    let template = stack::template(NAME, &std::collections::BTreeMap::new()).unwrap();
    let dynamodb =
        DynamoDbLocal::start(&Tools::find_or_install().unwrap(), Storage::Memory, directory.join("dynamodb.log"))
            .unwrap();
    tables::create(&dynamodb.endpoint(), &template).unwrap();
    let mut environment: std::collections::BTreeMap<String, String> =
        aws_environment(&dynamodb.endpoint()).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    environment.insert("LATCHKEY_SEALING_KEY".to_owned(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned());
    let mut functions = Vec::new();
    for function in template.functions().unwrap() {
        let mut variables = template.environment(&function.logical_id).unwrap();
        variables.remove("LATCHKEY_KMS_KEY_ID");
        environment.extend(variables.clone());
        if !["login", "authorizer"].contains(&function.binary.as_str()) {
            continue;
        }
        let bootstrap = rehearse::unpack(&packages.join(&function.binary).join("bootstrap.zip")).unwrap();
        let Some((program, arguments)) = runner(&bootstrap) else {
            println!(
                "SKIPPED: no qemu-aarch64 on PATH, or no C library below {LIBRARIES}; Debian has both in qemu-user, \
                 libc6-arm64-cross and libgcc-s1-arm64-cross"
            );
            return;
        };
        // An ELF file says for which processor it is: 183 is AArch64.
        let header = std::fs::read(&bootstrap).unwrap();
        assert_eq!(u16::from_le_bytes([header[18], header[19]]), 183, "{}", bootstrap.display());
        variables.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
        functions.push(json!({
            "name": function.binary, "program": program, "arguments": arguments, "variables": variables,
            "memory_megabytes": 1769, "timeout_seconds": 60,
        }));
    }
    for arguments in [&["keys", "init"][..], &["demo-users"]] {
        let output = latchkey_in(&environment, arguments, "");
        assert!(output.status.success(), "{output:?}");
    }
    let file = directory.join("functions.json");
    std::fs::write(&file, json!(functions).to_string()).unwrap();
    let port = port::free().unwrap();
    let mut host = command(workspace::binary("lambda-host"));
    host.arg("--functions").arg(&file).args(["--port", &port.to_string()]);
    let mut host = Supervised::start("lambda-host", host, &directory.join("functions.log")).unwrap();
    host.wait_until(Duration::from_secs(20), || port::is_answered(port)).unwrap();
    let invoke_url = format!("http://127.0.0.1:{port}");

    let begun = Instant::now();
    let (_, login) = invoke_at(&invoke_url, "login", &sample_event("login-ok"));
    println!("login answered after {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(login["statusCode"], 200, "{login}");
    let tokens: Value = serde_json::from_str(login["body"].as_str().unwrap()).unwrap();
    let access = tokens["access_token"].as_str().unwrap();
    let mut event: Value = serde_json::from_str(&sample_event("authorizer-good")).unwrap();
    event["identitySource"] = json!([format!("Bearer {access}")]);
    event["headers"]["authorization"] = json!(format!("Bearer {access}"));
    // Of the domain that the token was issued at.
    let issuer = unverified(access).1["iss"].as_str().unwrap().to_owned();
    event["requestContext"]["domainName"] = json!(issuer.trim_start_matches("https://"));
    let begun = Instant::now();
    let (_, verdict) = invoke_at(&invoke_url, "authorizer", &event.to_string());
    println!("authorizer answered after {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(
        (&verdict["isAuthorized"], &verdict["context"]["username"]),
        (&json!(true), &json!("alice")),
        "{verdict}"
    );
}
