//! What is on the screen, at 80 columns and 24 lines and at others.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::operator::Snapshot;
use crate::operator::fake::{client, summary};

fn screen(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| super::frame(frame, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn view() -> View {
    let mut clients = vec![
        client(4711, "viewer", 700 << 20),
        client(4_194_304, "a process with a long name", 68 << 20),
    ];
    clients[1].responsive = false;
    clients[1].figures.discards[0].count = 0;
    let snapshot = Snapshot {
        summary: summary(),
        clients,
    };
    let mut view = View::new(true);
    let start = Instant::now();
    view.take(Ok(snapshot.clone()), start);
    let mut later = snapshot;
    later.clients[1].figures.discards[0].count = 1234;
    view.take(Ok(later), start + Duration::from_secs(1));
    view
}

fn press(view: &mut View, letter: char) {
    view.press(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE));
}

#[test]
fn everything_is_there_at_80_by_24() {
    let lines = screen(&view(), 80, 24);
    assert_eq!(
        lines[0],
        " vidmm top  manager 900, up 1 d 2 h; 2 processes, 0 absent, 0 without an answer"
    );
    assert!(
        lines[1].contains("charged 768 MiB of 1 GiB (75.0 %)"),
        "{}",
        lines[1]
    );
    assert_eq!(
        lines[2],
        " reserve 64 MiB  reserved 0 B  waiting 1  granted 12  refused 1  pressure 1.23 %"
    );
    assert_eq!(lines[3], " sorted by held, largest first");
    assert_eq!(
        lines[4],
        "      PID NAME       HELD  LOCK   LOW  NORM  HIGH  WARM DISC/s HITS SHARE BUDGET"
    );
    assert_eq!(
        lines[5],
        "     4711 viewer     700M  2.0M   30M   40M   50M  6.0M      0  90%  512M   600M"
    );
    assert_eq!(
        lines[6],
        "! 4194304 a process   68M  2.0M   30M   40M   50M  6.0M   1234  90%  512M   600M"
    );
    assert!(lines[7..23].iter().all(String::is_empty));
    assert!(lines[23].starts_with(" q quit  ? help  sort:"));
}

#[test]
fn wider_screens_show_whole_names() {
    let lines = screen(&view(), 120, 30);
    assert!(
        lines[6].contains("a process with a long name"),
        "{}",
        lines[6]
    );
    assert_eq!(lines[6].chars().count(), 120);
}

#[test]
fn help_explains_every_column_and_key() {
    let mut view = view();
    press(&mut view, '?');
    let text = screen(&view, 80, 24).join("\n");
    for (head, ..) in COLUMNS {
        assert!(text.contains(head), "{head}");
    }
    for (key, _, name) in Sort::ALL {
        let shown = format!("{key} {}", name.split(' ').next().unwrap());
        assert!(text.contains(&shown), "{shown:?} is not in:\n{text}");
    }
    assert!(text.contains("Ctrl-C"));
    press(&mut view, '?');
    assert!(!screen(&view, 80, 24).join("\n").contains("Ctrl-C"));
}

#[test]
fn sorting_is_shown() {
    let mut view = view();
    for (key, said) in [
        ('p', "sorted by process number, smallest first"),
        ('r', "sorted by process number, largest first"),
        ('d', "sorted by discards, largest first"),
        ('r', "sorted by discards, smallest first"),
    ] {
        press(&mut view, key);
        assert!(screen(&view, 80, 24)[3].contains(said), "{key}");
    }
}

#[test]
fn a_manager_that_went_away_is_said_beside_the_last_figures() {
    let mut view = view();
    view.take(Err("no manager is running".into()), Instant::now());
    let lines = screen(&view, 80, 24);
    assert!(lines[3].contains("no news, trying again: no manager is running"));
    assert!(lines[5].contains("viewer"));
}

#[test]
fn a_long_list_moves() {
    let clients = (0..100).map(|pid| client(1000 + pid, "worker", 1 << 20));
    let snapshot = Snapshot {
        summary: summary(),
        clients: clients.collect(),
    };
    let mut view = View::new(false);
    view.take(Ok(snapshot), Instant::now());
    assert!(screen(&view, 80, 24)[22].contains("1017"));
    view.press(KeyEvent::new(KeyCode::PageDown, KeyModifiers::NONE));
    let lines = screen(&view, 80, 24);
    assert!(lines[3].contains("10 above") && lines[5].contains("1010"));
}

#[test]
fn no_size_is_too_small() {
    let mut view = view();
    for help in [false, true] {
        view.help = help;
        for width in (1..30).step_by(4) {
            for height in (1..12).step_by(2) {
                screen(&view, width, height);
            }
        }
    }
    let mut extreme = View::new(false);
    let mut row = client(u32::MAX, "x", u64::MAX);
    row.share_bytes = u64::MAX;
    row.budget_bytes = u64::MAX;
    let mut all = summary();
    all.budget_bytes = 0;
    all.uptime_ms = u64::MAX;
    extreme.take(
        Ok(Snapshot {
            summary: all,
            clients: vec![row],
        }),
        Instant::now(),
    );
    assert!(screen(&extreme, 80, 24)[5].contains("15E"));
}

#[test]
fn without_colours_there_are_none() {
    let mut view = view();
    let coloured = |view: &View| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| super::frame(frame, view)).unwrap();
        let cells = &terminal.backend().buffer().content;
        cells
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(coloured(&view));
    view.colours = false;
    assert!(!coloured(&view));
}

#[test]
fn short_sizes() {
    for (bytes, text) in [
        (0, "-"),
        (1, "1B"),
        (1023, "1023B"),
        (1024, "1.0K"),
        (1536, "1.5K"),
        (10 << 10, "10K"),
        ((10 << 20) - 1, "9.9M"),
        (1023 << 30, "1023G"),
        (u64::MAX, "15E"),
    ] {
        assert_eq!(short(bytes), text, "{bytes}");
    }
}

#[test]
fn the_picture_in_the_docs_is_of_this_screen() {
    let page = include_str!("../../../../docs/commands.md");
    let picture = page.split("```text\n").nth(1).unwrap();
    let picture: Vec<&str> = picture.split("```").next().unwrap().lines().collect();
    assert_eq!(picture, screen(&view(), 80, 24)[..picture.len()]);
}
