//! A page to read and print: the totals, charts of the last half year as SVG, and the records. No script, nothing from elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use marea_core::{ActivityDay, LocalDate, Progress};

use super::Records;
use super::value::{json, text};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2a33}\
h1,h2{line-height:1.2}dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1rem}\
dt{color:#56707d;font-size:.85rem}dd{margin:0;font-size:1.5rem}table{border-collapse:collapse;width:100%;font-size:.9rem}\
th,td{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #d5dfe4;overflow-wrap:anywhere}svg{width:100%;height:auto}\
rect{fill:#1b7a9c}.wrap{overflow-x:auto}";

pub(super) fn write(
    records: &Records,
    progress: &Progress,
    days: &[ActivityDay],
    span: (LocalDate, LocalDate),
) -> Vec<u8> {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    // It shows what a learner wrote: whatever that is, it runs nothing and calls nowhere.
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
    let title = escape(&records.title);
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1><p>As of {}</p><dl>",
        span.1
    );
    for (label, value) in totals(progress) {
        let _ = write!(out, "<div><dt>{label}</dt><dd>{value}</dd></div>");
    }
    out.push_str("</dl>");
    for (label, of) in CHARTS {
        let _ = write!(out, "<h2>{label}, {} to {}</h2>", span.0, span.1);
        out.push_str(&chart(label, days, span, of));
    }
    out.push_str("<h2>Records</h2><div class=\"wrap\"><table><thead><tr>");
    for column in &records.columns {
        let _ = write!(out, "<th>{}</th>", escape(&column.name.replace('_', " ")));
    }
    out.push_str("</tr></thead><tbody>");
    for row in &records.rows {
        out.push_str("<tr>");
        for column in &records.columns {
            let _ = write!(out, "<td>{}</td>", escape(&text(row.get(&column.name))));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></body></html>\n");
    out.into_bytes()
}

type Of = fn(&ActivityDay) -> i64;
const CHARTS: [(&str, Of); 3] = [
    ("Minutes a day", |day| day.minutes),
    ("Points a day", |day| day.points),
    ("Words a day", |day| day.words),
];

fn totals(progress: &Progress) -> [(&'static str, String); 8] {
    [
        ("Sessions", progress.total_sessions.to_string()),
        ("Minutes", progress.total_time_spent_minutes.to_string()),
        ("Points", progress.total_points.to_string()),
        ("Days in a row", progress.current_streak_days.to_string()),
        ("Longest run of days", progress.longest_streak_days.to_string()),
        ("Questions", progress.total_questions_answered.to_string()),
        ("Answered correctly", format!("{} %", json(&progress.average_accuracy.into()))),
        ("Words learned", progress.total_vocabulary_learned.to_string()),
    ]
}

/// A bar for each day.
fn chart(label: &str, days: &[ActivityDay], (since, until): (LocalDate, LocalDate), of: Of) -> String {
    let by_day: BTreeMap<String, i64> =
        days.iter().map(|day| (day.day.to_string(), of(day).max(0))).collect();
    let most = by_day.values().copied().max().unwrap_or(0).max(1);
    let mut bars = String::new();
    let (mut day, mut x) = (since, 0);
    while day <= until {
        let name = day.to_string();
        if let Some(value) = by_day.get(&name).copied().filter(|value| *value > 0) {
            // In a browser a bar says what it stands for.
            let height = 100 * value / most;
            let _ = write!(
                bars,
                "<rect x=\"{x}\" y=\"{}\" width=\"4\" height=\"{}\"><title>{name}: {value}</title></rect>",
                100 - height.max(1),
                height.max(1)
            );
        }
        (day, x) = (day.next(), x + 5);
    }
    format!(
        "<svg role=\"img\" aria-label=\"{label}, at most {most}\" viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\">{bars}</svg>",
        x.max(5)
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for found in text.chars() {
        match found {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn what_somebody_wrote_is_no_markup() {
        assert_eq!(escape("<b a='1' c=\"2\">&"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
    }
}
