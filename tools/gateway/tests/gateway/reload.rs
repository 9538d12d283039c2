//! Reloads a template that is edited while its API is served.

use std::{env, fs, path::PathBuf, process};

use crate::{
    client::send,
    invoke_api::InvokeApi,
    process::{Gateway, template},
};

/// A copy of the template that a test may edit; gone with it.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let file = env::temp_dir().join(format!("gateway-reload-{}.yaml", process::id()));
        fs::copy(template(), &file).unwrap();
        Self(file)
    }

    fn edit(&self, edit: impl Fn(&str) -> String) {
        let text = fs::read_to_string(&self.0).unwrap();
        let edited = edit(&text);
        assert_ne!(text, edited);
        fs::write(&self.0, edited).unwrap();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_changed_template_is_served_and_a_broken_one_is_not() {
    let functions = InvokeApi::start();
    let copy = Copy::new();
    let gateway = Gateway::start_template(functions.port, &copy.0, &["--api", "Api"]);
    let status = |path: &str| send(gateway.port, &format!("GET {path}"), &[]).status;
    assert_eq!((status("/open"), status("/opened")), (200, 404));

    copy.edit(|text| text.replace("Path: /open,", "Path: /opened,"));
    assert!(gateway.wait_for_output("gateway: the template changed: ").ends_with(" routes"));
    assert_eq!((status("/open"), status("/opened")), (404, 200));

    copy.edit(|text| format!("{text}\nx: ["));
    gateway.wait_for_error("changed, and the previous routes stay: ");
    assert_eq!((status("/open"), status("/opened")), (404, 200));

    copy.edit(|text| text.replace("\nx: [", "").replace("Path: /opened,", "Path: /open,"));
    while status("/open") != 200 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(status("/opened"), 404);
}
