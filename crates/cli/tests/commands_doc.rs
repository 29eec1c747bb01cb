//! docs/commands.md says what is so: its transcripts come out again, and its options are those that
//! there are.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../../../docs/commands.md");

/// Runs a line as a shell would, with this build's program.
fn outcome(line: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_vidmm");
    let line = line.replacen("vidmm ", &format!("'{program}' "), 1);
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {line}; }} 2>&1")])
        .current_dir(directory.path())
        .env_remove("VIDMM_SOCKET")
        .env("XDG_RUNTIME_DIR", directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The transcripts: each command with what it prints.
fn transcripts() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push((command.to_owned(), String::new())),
                (None, Some((_, printed))) => {
                    printed.push_str(line);
                    printed.push('\n');
                }
                (None, None) => panic!("{line:?} belongs to no command"),
            },
        }
    }
    found
}

/// Times differ from run to run, and so does what is done in them.
fn without_times(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for place in 1..words.len() {
        let is_of_time = ["s", "to", "million"].contains(&words[place]);
        if is_of_time && words[place - 1].parse::<f64>().is_ok() {
            words[place - 1] = "N";
        }
    }
    words.join(" ")
}

#[test]
fn transcripts_that_need_no_manager_come_out_again() {
    let mut tried = 0;
    for (command, printed) in transcripts() {
        let needs_none = ["vidmm run", "vidmm convert", "nowhere", "vidmm replay"];
        if needs_none.iter().any(|part| command.contains(part)) {
            assert_eq!(without_times(&outcome(&command)), without_times(&printed));
            tried += 1;
        }
    }
    assert_eq!(tried, 5);
}

#[test]
fn a_manager_of_a_run_answers_in_the_form_that_is_shown() {
    let shown = |wanted: &str| {
        let found = transcripts()
            .into_iter()
            .find(|(command, _)| command == wanted);
        found.unwrap().1
    };
    // Figures differ; what stands between them does not.
    let words = |text: &str| -> Vec<String> {
        let is_word = |word: &&str| !word.chars().any(|letter| letter.is_ascii_digit());
        text.split_whitespace()
            .filter(is_word)
            .filter(|word| !["B", "KiB", "MiB"].contains(&word.trim_matches([',', ';', '('])))
            .map(str::to_owned)
            .collect()
    };
    let program = env!("CARGO_BIN_EXE_vidmm");
    let inner = |arguments: &str| {
        let line = format!("vidmm run --budget 4M -- '{program}' {arguments} 2>/dev/null");
        outcome(&line)
    };
    let real = inner("stat");
    let head: String = shown("vidmm stat")
        .lines()
        .take(3)
        .collect::<Vec<_>>()
        .join("\n");
    let real_head: String = real.lines().take(3).collect::<Vec<_>>().join("\n");
    assert_eq!(words(&real_head), words(&head), "{real}");
    assert_eq!(words(&inner("budget")), words(&shown("vidmm budget")));
    assert!(shown("vidmm budget 2M").starts_with(inner("budget 2M").trim_end()));
    let trimmed = inner("trim 1M");
    assert!(trimmed.starts_with("0 B of 1 MiB given back"), "{trimmed}");
}

#[test]
fn the_options_are_those_that_there_are() {
    let mut of_help = std::collections::BTreeSet::new();
    for command in ["stat", "top", "trim", "budget", "run", "convert", "replay"] {
        let help = outcome(&format!("vidmm {command} --help"));
        for word in help.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-') {
            if word.starts_with("--") && word.len() > 2 {
                of_help.insert(word.to_owned());
            }
        }
        assert!(PAGE.contains(&format!("`vidmm {command}")), "{command}");
    }
    for option in ["--help", "--version"] {
        of_help.remove(option);
    }
    for option in &of_help {
        assert!(PAGE.contains(option.as_str()), "{option} is not explained");
    }
    for word in PAGE.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-') {
        let is_option = word.starts_with("--") && word.contains(char::is_alphabetic);
        if is_option && word != "--help" {
            assert!(of_help.contains(word), "{word} is no option");
        }
    }
}
