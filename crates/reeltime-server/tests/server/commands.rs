//! Settings, exit statuses, and the sentences that go with them.

use std::net::TcpListener;
use std::process::Stdio;

use tempfile::TempDir;

use crate::process::{Server, reeltime, run};

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

/// The row of a setting in `reeltime config --json`, as value and origin.
fn setting(
    folder: &TempDir,
    name: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (String, String) {
    let mut command = reeltime(folder, &[&["config", "--json"], arguments].concat());
    let (code, stdout, stderr) = run(command.envs(environment.iter().copied()));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let rows = json["settings"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name).unwrap();
    (row["value"].as_str().unwrap().to_owned(), row["origin"].as_str().unwrap().to_owned())
}

fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let folder = folder();
    let mut command = reeltime(&folder, arguments);
    let (code, stdout, stderr) = run(command.envs(environment.iter().copied()));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "not one sentence: {stderr}");
    stderr
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let folder = folder();
    let environment = [("REELTIME_LISTEN", "127.0.0.1:2")];
    assert_eq!(setting(&folder, "listen", &[], &[]), ("127.0.0.1:7400".into(), "default".into()));
    std::fs::write(folder.path().join("reeltime.toml"), "# here\nlisten = \"127.0.0.1:1\"\n").unwrap();
    assert_eq!(setting(&folder, "listen", &[], &[]), ("127.0.0.1:1".into(), "reeltime.toml line 2".into()));
    let found = setting(&folder, "listen", &[], &environment);
    assert_eq!(found, ("127.0.0.1:2".into(), "environment REELTIME_LISTEN".into()));
    let found = setting(&folder, "listen", &["--listen", "127.0.0.1:3"], &environment);
    assert_eq!(found, ("127.0.0.1:3".into(), "--listen".into()));
}

#[test]
fn a_file_can_be_named_by_flag_or_variable() {
    let folder = folder();
    std::fs::write(folder.path().join("mine.toml"), "reserve = \"1MiB\"").unwrap();
    assert_eq!(setting(&folder, "reserve", &["--config", "mine.toml"], &[]).0, "1MiB");
    assert_eq!(setting(&folder, "reserve", &[], &[("REELTIME_CONFIG", "mine.toml")]).0, "1MiB");
}

#[test]
fn secrets_are_redacted() {
    let folder = folder();
    let environment = [("REELTIME_API_KEYS", "canary"), ("REELTIME_URL_SECRET", "canary")];
    for arguments in [&["config"][..], &["config", "--json"]] {
        let (_, stdout, stderr) = run(reeltime(&folder, arguments).envs(environment));
        assert!(stdout.contains("[redacted]") && !stdout.contains("canary") && stderr.is_empty(), "{stdout}");
    }
}

#[test]
fn wrong_usage_exits_2_with_what_to_do() {
    let wrong = refused(&["config", "--flush-interval", "soon"], &[]);
    assert!(wrong.contains("--flush-interval: ") && wrong.contains("write for example 200ms"), "{wrong}");
    let wrong = refused(&["serve"], &[("REELTIME_STORE_URL", "gopher://bucket")]);
    assert!(wrong.contains("environment REELTIME_STORE_URL") && wrong.contains("file:///path"), "{wrong}");
    let wrong = refused(&["serve"], &[("BACKEND_RECORD_FORMAT", "aiff")]);
    assert!(wrong.contains("use wav, flac, ogg, mp3, webm or mp4"), "{wrong}");
    let wrong = refused(&["serve", "--config", "nowhere.toml"], &[]);
    assert!(wrong.contains("nowhere.toml"), "{wrong}");
    let folder = folder();
    assert_eq!(run(&mut reeltime(&folder, &["serve", "--no-such-flag"])).0, Some(2));
    assert_eq!(run(&mut reeltime(&folder, &[])).0, Some(2));
}

#[test]
fn a_corrupt_file_exits_2_with_file_line_and_key() {
    let folder = folder();
    for (text, expected) in [
        (
            "listen = \"127.0.0.1:1\"\nlisen = 1\n",
            "reeltime.toml line 2: `lisen` is not a setting; did you mean `listen`?",
        ),
        ("listen = \n", "reeltime.toml line 1 is not TOML"),
        ("\n\nmax_connections = \"many\"", "reeltime.toml line 3: max_connections = \"many\""),
    ] {
        std::fs::write(folder.path().join("reeltime.toml"), text).unwrap();
        let (code, _, stderr) = run(&mut reeltime(&folder, &["serve"]));
        assert_eq!(code, Some(2));
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn beyond_loopback_a_server_without_keys_does_not_start() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let sentence = refused(&["serve", "--listen", address], &[]);
        assert!(sentence.contains("REELTIME_API_KEYS"), "{sentence}");
    }
}

#[test]
fn a_port_in_use_exits_1_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder();
    let (code, stdout, stderr) = run(&mut reeltime(&folder, &["serve", "--listen", &address]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&address) && stderr.contains("--listen"), "{stderr}");
    assert!(!folder.path().join("reeltime-data").exists(), "nothing was touched");
}

#[test]
fn a_data_folder_in_use_exits_1_with_what_to_do() {
    let server = Server::start(&[]);
    let data = server.folder.path().join("reeltime-data");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let elsewhere = folder();
    let (code, _, stderr) = run(&mut reeltime(&elsewhere, &arguments));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("in use by another process") && stderr.contains("--data-dir"), "{stderr}");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_data_folder_that_is_a_file_exits_1_with_its_name() {
    let folder = folder();
    std::fs::write(folder.path().join("reeltime-data"), "").unwrap();
    let (code, _, stderr) = run(&mut reeltime(&folder, &["serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("reeltime-data"), "{stderr}");
}

#[test]
fn every_command_has_help_with_examples() {
    let folder = folder();
    for command in ["serve", "config", "recover", "export", "ls", "send"] {
        let (code, stdout, _) = run(&mut reeltime(&folder, &[command, "--help"]));
        assert_eq!(code, Some(0));
        assert!(stdout.contains("Examples:\n  "), "{stdout}");
        // What talks to a server alone has no data folder.
        assert_eq!(stdout.contains("--data-dir"), command != "send", "{stdout}");
    }
}

#[test]
fn recovering_a_folder_that_is_not_there_says_so_and_makes_none() {
    let folder = folder();
    let (code, _, stderr) = run(&mut reeltime(&folder, &["recover", "--dry-run", "--json"]));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no data folder") && stderr.contains("--data-dir"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_dry_recovery_of_nothing_writes_nothing() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("reeltime-data")).unwrap();
    let (code, stdout, _) = run(&mut reeltime(&folder, &["recover", "--dry-run", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &json["tracks"]), (Some(0), &serde_json::json!([])));
    assert_eq!(std::fs::read_dir(folder.path().join("reeltime-data")).unwrap().count(), 0);
}

#[test]
fn exporting_what_is_not_there_exits_1() {
    let folder = folder();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let (code, _, stderr) = run(&mut reeltime(&folder, &["export", id, "-o", "x.wav"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(!folder.path().join("x.wav").exists());
    let (code, _, stderr) = run(&mut reeltime(&folder, &["export", "../x", "-o", "x.wav"]));
    assert_eq!(code, Some(2), "{stderr}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = folder();
    let mut child =
        reeltime(&folder, &["config"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
