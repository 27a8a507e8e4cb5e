//! The schema module, the environment file and the first component of an app. `npx marea-client init` writes the same
//! (wasm/cli/starter.mjs), from the same files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use clap::ValueEnum;
use include_dir::{Dir, include_dir};
use serde_json::Value;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wasm/cli/starter");

/// What an app is built with.
#[derive(Clone, Copy, PartialEq, Debug, ValueEnum)]
pub(super) enum Framework {
    React,
    Vue,
    Svelte,
    Vite,
    Next,
    None,
}

impl Framework {
    pub(super) fn found_in(project: &Path) -> Self {
        let manifest = fs::read_to_string(project.join("package.json")).unwrap_or_default();
        let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
        let has = |name: &str| {
            ["dependencies", "devDependencies"].iter().any(|of| manifest[of].get(name).is_some())
        };
        match () {
            () if has("next") => Self::Next,
            () if !has("vite") => Self::None,
            () if has("react") => Self::React,
            () if has("vue") => Self::Vue,
            () if has("svelte") => Self::Svelte,
            () => Self::Vite,
        }
    }

    /// What is written: where below the sources, from which file.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        const SCHEMA: (&str, &str) = ("marea.schema.ts", "marea.schema.ts");
        const MAREA: (&str, &str) = ("marea.ts", "vite/marea.ts");
        match self {
            Self::React => &[SCHEMA, MAREA, ("Progress.tsx", "react/Progress.tsx")],
            Self::Vue => {
                &[SCHEMA, MAREA, ("Progress.vue", "vue/Progress.vue"), ("Today.vue", "vue/Today.vue")]
            }
            Self::Svelte => &[SCHEMA, MAREA, ("Progress.svelte", "svelte/Progress.svelte")],
            Self::Vite => &[SCHEMA, MAREA],
            Self::Next => &[
                ("lib/marea.schema.ts", "marea.schema.ts"),
                ("lib/marea.ts", "next/marea.ts"),
                ("components/progress.tsx", "next/progress.tsx"),
            ],
            Self::None => &[],
        }
    }

    /// Each file below the project, with its text.
    pub(super) fn texts(self, project: &Path) -> Vec<(String, &'static str)> {
        let sources = if self == Self::Next && !project.join("src").exists() { "" } else { "src/" };
        let text =
            |name: &str| FILES.get_file(name).and_then(|file| file.contents_utf8()).unwrap_or_default();
        self.files().iter().map(|(path, name)| (format!("{sources}{path}"), text(name))).collect()
    }
}

/// Adds the variables that the environment file lacks at its end, and returns what was added. A value that is there stays.
pub(super) fn add_variables(project: &Path, framework: Framework) -> io::Result<Option<String>> {
    let prefix = match framework {
        Framework::None => return Ok(None),
        Framework::Next => "NEXT_PUBLIC_",
        _ => "VITE_",
    };
    let place = project.join(".env.local");
    let before = fs::read_to_string(&place).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(String::new()),
        _ => Err(error),
    })?;
    let has = |name: &str| {
        before.lines().any(|line| {
            let line = line.strip_prefix("export").map_or(line, str::trim_start);
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
        })
    };
    let missing: Vec<(String, &str)> =
        [("SUPABASE_URL", "https://project.supabase.co"), ("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_...")]
            .map(|(name, example)| (format!("{prefix}{name}"), example))
            .into_iter()
            .filter(|(name, _)| !has(name))
            .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let mut file = OpenOptions::new().append(true).create(true).open(&place)?;
    if !before.is_empty() && !before.ends_with('\n') {
        file.write_all(b"\n")?;
    }
    for (name, example) in &missing {
        writeln!(file, "{name}={example}")?;
    }
    file.sync_all()?;
    let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
    Ok(Some(format!("{} to .env.local", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_known_by_what_it_depends_on() {
        let project = tempfile::tempdir().unwrap();
        assert_eq!(Framework::found_in(project.path()), Framework::None);
        for (manifest, expected) in [
            (r#"{"dependencies":{"react":"19"},"devDependencies":{"vite":"8"}}"#, Framework::React),
            (r#"{"dependencies":{"vue":"3"},"devDependencies":{"vite":"7"}}"#, Framework::Vue),
            (r#"{"devDependencies":{"svelte":"5","vite":"8"}}"#, Framework::Svelte),
            (r#"{"devDependencies":{"vite":"8"}}"#, Framework::Vite),
            (r#"{"dependencies":{"next":"16","react":"19"}}"#, Framework::Next),
            (r#"{"dependencies":{"react":"19"}}"#, Framework::None),
            ("no json", Framework::None),
        ] {
            fs::write(project.path().join("package.json"), manifest).unwrap();
            assert_eq!(Framework::found_in(project.path()), expected, "{manifest}");
        }
    }

    #[test]
    fn every_file_that_a_framework_gets_is_there() {
        let project = tempfile::tempdir().unwrap();
        for framework in Framework::value_variants() {
            for (path, text) in framework.texts(project.path()) {
                assert!(!text.is_empty(), "{path}");
            }
        }
    }

    #[test]
    fn variables_that_are_there_stay() {
        let project = tempfile::tempdir().unwrap();
        let place = project.path().join(".env.local");
        fs::write(&place, "export VITE_SUPABASE_URL=https://mine.example").unwrap();
        let added = add_variables(project.path(), Framework::React).unwrap();
        assert_eq!(added.as_deref(), Some("VITE_SUPABASE_PUBLISHABLE_KEY to .env.local"));
        let text = fs::read_to_string(&place).unwrap();
        assert_eq!(
            text,
            "export VITE_SUPABASE_URL=https://mine.example\nVITE_SUPABASE_PUBLISHABLE_KEY=sb_publishable_...\n"
        );
        assert_eq!(add_variables(project.path(), Framework::React).unwrap(), None);
    }
}
