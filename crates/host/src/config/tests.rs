//! What configurations come to, and what is said of those that are wrong.

use std::path::Path;

use vidmm_manager::Terms;

use super::*;
use crate::process::Facets;

fn files(dir: &Path) -> MachineFiles {
    std::fs::write(dir.join("passwd"), "root:x:0:0::/:\nrender:x:123:5::/:\n").unwrap();
    MachineFiles {
        proc_root: dir.join("proc"),
        cgroup_root: dir.join("cgroup"),
    }
}

fn parsed(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let users = users::Users::of(&files(dir.path()));
    Config::parse(text, Path::new("m.toml"), &users).map_err(|error| error.to_string())
}

#[test]
fn nothing_written_is_all_defaults() {
    let config = parsed("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.settings(1600, None, None), Settings::of_budget(1600));
    assert_eq!(config.settings(1600, Some(0), None).reserve_bytes, 0);
    assert_eq!(config.settings(1600, None, Some(9)).guarded_percent, 9);
}

#[test]
fn everything_that_can_be_written() {
    let config = parsed(
        r#"
        budget = "50%"
        allow_swap = true
        reserve = "1M"
        guarded_percent = 40
        patience_ms = 0
        answer_ms = 50
        clients_max = 7
        audit_slack = "3M"
        metrics = "127.0.0.1:9464"
        metrics_textfile = "/x/vidmm.prom"
        log_level = "debug"
        [default]
        weight = 0.5
        floor = 4096
        [[client]]
        user = "render"
        cgroup = "/a.slice"
        executable = "tiles"
        weight = 2
        reservation = "1G"
        cap = "2G"
        [[client]]
        user = 9
        "#,
    )
    .unwrap();
    let settings = config.settings(1 << 40, None, None);
    assert_eq!((settings.patience_ms, settings.answer_ms), (0, 50));
    assert_eq!((settings.clients_max, settings.reserve_bytes), (7, 1 << 20));
    assert_eq!(settings.audit_slack_bytes, 3 << 20);
    assert_eq!(settings.guarded_percent, 40);
    assert_eq!(config.log_level, Some(LogLevel::Debug));
    assert_eq!(config.metrics, "127.0.0.1:9464".parse().ok());
    let usual = Terms {
        weight_hundredths: 50,
        floor_bytes: Some(4096),
        ..Terms::default()
    };
    let first = Terms {
        weight_hundredths: 200,
        reservation_bytes: 1 << 30,
        floor_bytes: Some(4096),
        cap_bytes: Some(2 << 30),
    };
    let facets = |cgroup: &str, executable: &str| Facets {
        cgroup: Some(cgroup.to_owned()),
        executable: Some(executable.into()),
    };
    assert_eq!(
        config.terms(123, &facets("/a.slice/b", "/usr/bin/tiles")),
        first
    );
    assert_eq!(config.terms(123, &facets("/a.slice", "/tiles")), first);
    for (uid, cgroup, executable) in [
        (124, "/a.slice", "/tiles"),
        (123, "/a.slices", "/tiles"),
        (123, "/", "/tiles"),
        (123, "/a.slice", "/tiles/x"),
        (123, "/a.slice", "/mytiles"),
    ] {
        assert_eq!(config.terms(uid, &facets(cgroup, executable)), usual);
    }
    assert_eq!(
        config.terms(123, &Facets::default()),
        usual,
        "what is not known does not fit"
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let table = [
        ("budget = \"4GB\"", "m.toml:1:10", "1000 to some"),
        ("budget = \"0\"", "m.toml:1:10", "holds nothing"),
        ("\nbudget = \"101%\"", "m.toml:2:10", "100%"),
        ("budget = 0", "m.toml:1:10", "a budget such as"),
        ("budget = -1", "m.toml:1:10", "a budget such as"),
        ("budget = true", "m.toml:1:10", "a budget such as"),
        ("bugdet = \"4G\"", "m.toml:1:1", "unknown field `bugdet`"),
        (
            "budget = \"4G\"\nbudget = \"5G\"",
            "m.toml:2:1",
            "duplicate key",
        ),
        ("x = ", "m.toml:1:5", "at"),
        (
            "[default]\nwieght = 1",
            "m.toml:2:1",
            "unknown field `wieght`",
        ),
        ("[default]\n  weight = 0", "m.toml:2:12", "0.01"),
        ("[default]\nweight = nan", "m.toml:2:10", "0.01"),
        ("[default]\nweight = \"x\"", "m.toml:2:10", "invalid type"),
        (
            "[default]\ncap = \"1M\"\nfloor = \"2M\"",
            "m.toml",
            "above the cap",
        ),
        ("[[client]]\nuser = \"nobody-such\"", "m.toml:2:8", "id -u"),
        ("[[client]]\nuser = -1", "m.toml:2:8", "a user's name"),
        ("[[client]]\nuser = true", "m.toml:2:8", "a user's name"),
        ("[[client]]\nweight = 1", "m.toml:1:1", "fits everybody"),
        ("[[client]]\ncgroup = \"a\"", "m.toml:2:10", "from the root"),
        (
            "[[client]]\nexecutable = \"a/b\"",
            "m.toml:2:14",
            "whole path",
        ),
        (
            "[[client]]\nuser = 1\nreservation = \"2M\"\ncap = \"1M\"",
            "m.toml:1:1",
            "above the cap",
        ),
        ("client = 3", "m.toml:1:10", "invalid type"),
        ("clients_max = 0", "m.toml:1:15", "at least 1"),
        ("answer_ms = 0", "m.toml:1:13", "at least 1"),
        ("guarded_percent = 101", "m.toml:1:19", "at most 100"),
        ("guarded_percent = -1", "m.toml:1:19", "invalid value"),
        ("clients_max = 99999999999", "m.toml:1:15", "invalid value"),
        ("metrics = \"localhost:1\"", "m.toml:1:11", "127.0.0.1:9464"),
        ("log_level = \"loud\"", "m.toml:1:13", "\"warning\""),
        ("ünï = 1", "m.toml:1:1", "ünï"),
        ("a = \"\u{1b}\"", "m.toml:1:6", "at"),
    ];
    let mut wrong = Vec::new();
    for (text, place, why) in table {
        let error = parsed(text).unwrap_err();
        let is_line = !error.chars().any(char::is_control);
        if !(error.starts_with(place) && error.contains(why) && is_line) {
            wrong.push(format!("{text:?} (not {place}, {why:?}): {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_budget_that_cannot_keep_what_is_promised() {
    let table = [
        ("reserve = \"2M\"", "the reserve"),
        ("[default]\nreservation = \"2M\"", "[default]"),
        (
            "[[client]]\nuser = 1\nfloor = \"2M\"",
            "the floor of client rule 1",
        ),
        (
            "[[client]]\nuser = 1\nreservation = \"600K\"\n[[client]]\nuser = 2\nreservation = \"600K\"",
            "the sum",
        ),
    ];
    for (text, what) in table {
        let config = parsed(text).unwrap();
        let error = config
            .check_promises(&config.settings(1 << 20, None, None))
            .unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(what) && error.contains("raise the budget"),
            "{error}"
        );
        assert!(
            config
                .check_promises(&config.settings(64 << 20, None, None))
                .is_ok()
        );
    }
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let none = Config::read(&dir.path().join("none"), &files).unwrap_err();
    assert!(none.to_string().contains("none"), "{none}");
    let folder = Config::read(dir.path(), &files).unwrap_err();
    assert!(folder.to_string().contains("no ordinary file"), "{folder}");
    let long = dir.path().join("long");
    std::fs::write(&long, "#".repeat((1 << 20) + 1)).unwrap();
    let long = Config::read(&long, &files).unwrap_err();
    assert!(long.to_string().contains("1 MiB"), "{long}");
    let binary = dir.path().join("binary");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(Config::read(&binary, &files).is_err());
}

#[test]
fn a_budget_above_memory_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    std::fs::create_dir(&files.proc_root).unwrap();
    let meminfo = "MemTotal: 1024 kB\nMemAvailable: 512 kB\nSwapTotal: 1024 kB\n";
    std::fs::write(files.proc_root.join("meminfo"), meminfo).unwrap();
    assert!(check_memory(1 << 20, false, &files).is_ok());
    let error = check_memory((1 << 20) + 1, false, &files)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("--allow-swap") && error.contains("1 MiB"),
        "{error}"
    );
    assert!(check_memory(2 << 20, true, &files).is_ok());
    assert!(check_memory((2 << 20) + 1, true, &files).is_err());
}
