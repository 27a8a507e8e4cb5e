//! How text looks: colours and charts on a terminal, neither in a pipe. Knows nothing of what is shown.

use std::io::IsTerminal as _;

/// What a colour says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ink {
    /// In order.
    Good,
    /// Wants attention.
    Warning,
    /// Broken.
    Bad,
    /// Less important than the rest.
    Dim,
    /// A heading.
    Strong,
    /// A step of the calendar, 0 (nothing) to 4 (most).
    Shade(usize),
}

/// How the output of this run looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Whether charts may be drawn.
    pub(crate) charts: bool,
    pub(crate) colours: bool,
    /// Columns of the terminal; 80 where there is none.
    pub(crate) width: usize,
}

/// Greens that can be told apart on black and on white (xterm's 256 colours), from little to much.
const SHADES: [&str; 5] = ["38;5;245", "38;5;114", "38;5;71", "38;5;34", "38;5;28"];

/// Codes of colours (ECMA-48, SGR).
const GOOD: &str = "32";
const WARNING: &str = "33";
const BAD: &str = "31";
const DIM: &str = "2";
const STRONG: &str = "1";
const END: &str = "0";

impl Style {
    /// What suits standard output. NO_COLOR (no-color.org) and CLICOLOR_FORCE (bixense.com/clicolors) are heeded.
    pub(crate) fn of_stdout(json: bool) -> Style {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let forced =
            set("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let charts = !json && (forced || std::io::stdout().is_terminal() && !dumb);
        let size = charts.then(|| console::Term::stdout().size_checked()).flatten();
        Style {
            charts,
            colours: charts && !set("NO_COLOR"),
            width: size.map_or(80, |(_, columns)| columns.into()),
        }
    }

    /// Without anything but the text.
    #[cfg(test)]
    pub(crate) fn plain() -> Style {
        Style { charts: false, colours: false, width: 80 }
    }

    /// Charts in black and white.
    #[cfg(test)]
    pub(crate) fn charts() -> Style {
        Style { charts: true, ..Style::plain() }
    }

    /// The text in this ink, where there are colours.
    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
        if !self.colours || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Good => GOOD,
            Ink::Warning => WARNING,
            Ink::Bad => BAD,
            Ink::Dim => DIM,
            Ink::Strong => STRONG,
            Ink::Shade(step) => SHADES[step.min(SHADES.len() - 1)],
        };
        format!("\x1b[{code}m{text}\x1b[{END}m")
    }
}

/// The sequence of [`Style::paint`] that a text begins with: the only ones that may reach a terminal.
pub(crate) fn colour_at_start(text: &str) -> Option<&str> {
    let code = text.strip_prefix("\x1b[")?.split_once('m')?.0;
    let is_ours = [GOOD, WARNING, BAD, DIM, STRONG, END].contains(&code) || SHADES.contains(&code);
    is_ours.then(|| &text[.."\x1b[".len() + code.len() + "m".len()])
}
