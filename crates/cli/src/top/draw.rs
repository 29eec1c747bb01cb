//! Puts the view on a screen of any size. 80 columns and 24 lines show everything; wider screens
//! give the names the room.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Gauge, Paragraph, Table};
use vidmm_machine::ByteSize;

use crate::top::view::{Row, Sort, View};
use crate::words::{duration, percent, pressure};

/// The heads of the columns, their widths, and what sorts by them. The name's width is a minimum.
const COLUMNS: [(&str, u16, Option<Sort>); 13] = [
    (" ", 1, None),
    ("PID", 7, Some(Sort::Pid)),
    ("NAME", 9, Some(Sort::Name)),
    ("HELD", 5, Some(Sort::Held)),
    ("LOCK", 5, Some(Sort::Locked)),
    ("LOW", 5, Some(Sort::Offered)),
    ("NORM", 5, Some(Sort::Offered)),
    ("HIGH", 5, Some(Sort::Offered)),
    ("WARM", 5, Some(Sort::Warm)),
    ("DISC/s", 6, Some(Sort::Discards)),
    ("HITS", 4, Some(Sort::Hits)),
    ("SHARE", 5, Some(Sort::Share)),
    ("BUDGET", 6, Some(Sort::Budget)),
];

const HELP: &[&str] = &[
    "PID NAME the process, as the manager sees it",
    "HELD     all that the process is charged for",
    "LOCK     of it, locked: in use this moment",
    "LOW NORM HIGH  offered, by class: may be discarded, LOW first",
    "WARM     kept for the next allocation, content gone",
    "DISC/s   allocations discarded in the last interval, per second",
    "HITS     reclaims so far that found the content",
    "SHARE    its fair part of the budget     BUDGET what it may use now",
    "!        has an order unanswered: asked last, given nothing",
    "?        lives, and is not connected     *  holds more than granted",
    "",
    "sort by  p process  n name  h held  l locked  o offered  w warm",
    "         d discards  i hits  s share  b budget     r turn around",
    "move     arrows, Page Up, Page Down, Home, End",
    "quit     q, Esc, Ctrl-C     background  Ctrl-Z     help  ?",
];

/// Draws everything.
pub(crate) fn frame(frame: &mut Frame<'_>, view: &View) {
    let [title, gauge, figures, state, list, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title_line(view), title);
    frame.render_widget(budget_gauge(view), gauge);
    frame.render_widget(figures_line(view), figures);
    frame.render_widget(state_line(view), state);
    frame.render_widget(table(view), list);
    let hint = " q quit  ? help  sort: p n h l o w d i s b  r turn around  arrows move";
    frame.render_widget(Line::styled(hint, Modifier::DIM), keys);
    if view.help {
        help(frame, view);
    }
}

fn title_line(view: &View) -> Line<'static> {
    let summary = &view.snapshot.summary;
    let title = Span::styled(" vidmm top", Modifier::BOLD);
    let rest = format!(
        "  manager {}, up {}; {} processes, {} absent, {} without an answer",
        summary.pid,
        duration(summary.uptime_ms),
        summary.clients,
        summary.absent,
        summary.unresponsive
    );
    Line::from(vec![title, Span::raw(rest)])
}

fn budget_gauge(view: &View) -> Gauge<'static> {
    let summary = &view.snapshot.summary;
    let part = summary.charged_bytes as f64 / summary.budget_bytes.max(1) as f64;
    let label = format!(
        "charged {} of {} ({})",
        ByteSize(summary.charged_bytes),
        ByteSize(summary.budget_bytes),
        percent(summary.charged_bytes, summary.budget_bytes)
    );
    let colour = match part {
        part if part > 1.0 => Color::Red,
        part if part > 0.9 => Color::Yellow,
        _ => Color::Green,
    };
    Gauge::default()
        .ratio(part.clamp(0.0, 1.0))
        .label(label)
        .gauge_style(coloured(view, colour))
}

fn figures_line(view: &View) -> Line<'static> {
    let summary = &view.snapshot.summary;
    Line::raw(format!(
        " reserve {}  reserved {}  waiting {}  granted {}  refused {}  pressure {}",
        ByteSize(summary.reserve_bytes),
        ByteSize(summary.reserved_bytes),
        summary.waiting,
        summary.granted,
        summary.refused,
        pressure(summary.psi_some_avg10)
    ))
}

fn state_line(view: &View) -> Line<'static> {
    if let Some(trouble) = &view.trouble {
        return Line::styled(
            format!(" no news, trying again: {trouble}"),
            coloured(view, Color::Red).add_modifier(Modifier::BOLD),
        );
    }
    let direction = match (view.sort, view.reversed) {
        (Sort::Pid | Sort::Name, false) | (_, true) => "smallest",
        _ => "largest",
    };
    let mut text = format!(" sorted by {}, {direction} first", view.sort.name());
    if matches!(view.sort, Sort::Pid | Sort::Name) && view.reversed {
        text = format!(" sorted by {}, largest first", view.sort.name());
    }
    if view.offset > 0 {
        text.push_str(&format!("; {} above", view.offset));
    }
    if view.snapshot.summary.hidden > 0 {
        text.push_str(&format!(
            "; {} of other users not shown",
            view.snapshot.summary.hidden
        ));
    }
    Line::styled(text, Modifier::DIM)
}

fn table(view: &View) -> Table<'static> {
    let head = COLUMNS.iter().enumerate().map(|(column, (text, _, sort))| {
        let cell = Cell::new(aligned(column, (*text).to_owned()));
        match *sort == Some(view.sort) {
            true => cell.style(Modifier::REVERSED | Modifier::BOLD),
            false => cell.style(Modifier::BOLD),
        }
    });
    let widths = COLUMNS.iter().map(|(text, width, _)| match *text {
        "NAME" => Constraint::Min(*width),
        _ => Constraint::Length(*width),
    });
    let rows = view.rows.iter().skip(view.offset).map(|row| {
        let cells = cells(row).into_iter().enumerate();
        let cells = cells.map(|(column, text)| Cell::new(aligned(column, text)));
        ratatui::widgets::Row::new(cells).style(row_style(view, row))
    });
    Table::new(rows, widths)
        .header(ratatui::widgets::Row::new(head))
        .column_spacing(1)
}

/// Figures stand to the right.
fn aligned(column: usize, text: String) -> Line<'static> {
    match column {
        0 | 2 => Line::raw(text),
        _ => Line::raw(text).right_aligned(),
    }
}

fn cells(row: &Row) -> [String; 13] {
    let client = &row.client;
    let figures = &client.figures;
    let all = figures
        .reclaims_intact
        .saturating_add(figures.reclaims_discarded);
    let hits = (u128::from(figures.reclaims_intact) * 100)
        .checked_div(u128::from(all))
        .map_or_else(|| "-".to_owned(), |share| format!("{share}%"));
    [
        flag(row).to_owned(),
        client.pid.to_string(),
        client.name.clone(),
        short(figures.held_bytes),
        short(figures.locked.bytes),
        short(figures.offered[0].bytes),
        short(figures.offered[1].bytes),
        short(figures.offered[2].bytes),
        short(figures.warm_bytes),
        row.discards_per_s
            .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
        hits,
        short(client.share_bytes),
        short(client.budget_bytes),
    ]
}

fn flag(row: &Row) -> &'static str {
    match &row.client {
        client if client.exceeds => "*",
        client if !client.joined => "?",
        client if !client.responsive => "!",
        _ => " ",
    }
}

fn row_style(view: &View, row: &Row) -> Style {
    match flag(row) {
        " " => Style::new(),
        "?" => Style::new().add_modifier(Modifier::DIM),
        _ => coloured(view, Color::Yellow),
    }
}

fn coloured(view: &View, colour: Color) -> Style {
    match view.colours {
        true => Style::new().fg(colour),
        false => Style::new(),
    }
}

/// A size in at most five characters: `-`, `512B`, `1.5K`, `12M`, `1023G`.
fn short(bytes: u64) -> String {
    if bytes == 0 {
        return "-".to_owned();
    }
    let mut unit = 0;
    while unit < 6 && bytes >> (10 * (unit + 1)) != 0 {
        unit += 1;
    }
    let letter = ["B", "K", "M", "G", "T", "P", "E"][unit];
    let whole = bytes >> (10 * unit);
    if unit == 0 || whole >= 10 {
        return format!("{whole}{letter}");
    }
    // Rounded down, as the others are.
    let tenth = ((bytes >> (10 * (unit - 1))) & 1023) * 10 / 1024;
    format!("{whole}.{tenth}{letter}")
}

fn help(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let lines = u16::try_from(HELP.len()).unwrap_or(u16::MAX);
    let width = area.width.min(72);
    let height = area.height.min(lines.saturating_add(2));
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::bordered()
        .title(" vidmm top ")
        .border_style(coloured(view, Color::Cyan));
    let text: Vec<Line<'_>> = HELP.iter().map(|line| Line::raw(*line)).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(text).block(block), place);
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
