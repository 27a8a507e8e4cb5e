//! `marea-client init` writes what migration tools run: each in one transaction of its own, the awkward app's among them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use marea_tests::cluster::{Database, root};
use marea_tests::program;
use tokio::process::Command;

use crate::app::Supabase;

async fn init(folder: &Path, words: &[&str]) -> (i32, String) {
    let mut command = Command::new("node");
    command.arg(root().join("wasm/cli/marea-client.mjs")).arg("init").args(words).current_dir(folder);
    let output =
        command.env_remove("MAREA_URL").env_remove("MAREA_KEY").output().await.expect("node is on PATH");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(said).expect("UTF-8"))
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(
                files(&entry.path()).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)),
            ),
            false => {
                found.insert(name, fs::read_to_string(entry.path()).expect("text"));
            }
        }
    }
    found
}

/// As a tool runs a file: everything in one transaction, and its own note of it at the end.
async fn in_one_transaction(database: &Database, text: &str) {
    database.execute("CREATE TABLE IF NOT EXISTS public.tool (at timestamptz)").await;
    let whole = format!("BEGIN;\n{text}\nINSERT INTO public.tool VALUES (now());\nCOMMIT;");
    database.execute(&whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_init_writes_runs_as_tools_run_it() {
    let server = Supabase::start().await;
    for (tool, folder) in [
        ("supabase", "supabase/migrations"),
        ("flyway", "sql"),
        ("sqlx", "migrations"),
        ("dbmate", "db/migrations"),
    ] {
        let project = tempfile::tempdir().expect("a folder");
        // One of the app's own, made tomorrow: Marea's come behind it.
        fs::create_dir_all(project.path().join(folder)).expect("a folder");
        let own = format!("{folder}/20991231235959_own.sql");
        fs::write(project.path().join(&own), "SELECT 1;").expect("a file");
        let (code, said) = init(project.path(), &["--tool", tool]).await;
        assert_eq!(code, 0, "{said}");
        let written = files(project.path());
        let (again, said) = init(project.path(), &["--tool", tool]).await;
        assert!(again == 0 && said.contains("nothing was added"), "{said}");
        assert_eq!(files(project.path()), written, "{tool}");
        let marea: Vec<(&String, &String)> =
            written.iter().filter(|(name, _)| name.contains("_marea_")).collect();
        assert!(marea.len() >= 5 && marea[0].0.ends_with("_marea_adopt.sql"), "{tool}: {:?}", written.keys());
        let own_number = own.rsplit('/').next().unwrap_or_default();
        assert!(marea.iter().all(|(name, _)| {
            name.rsplit('/').next().unwrap_or_default().trim_start_matches('V') > own_number
        }));

        let database = server.awkward(&format!("by_{tool}"), false).await;
        for (name, text) in &marea {
            let up = match tool {
                "dbmate" => text.split("-- migrate:down").next().expect("a first part"),
                _ => text.as_str(),
            };
            assert!(
                !up.lines().any(|line| line == "BEGIN;" || line == "COMMIT;" || line.starts_with("CALL ")),
                "{name}"
            );
            in_one_transaction(&database, up).await;
        }
        let points = "SELECT string_agg(total_points::text, ' ' ORDER BY user_id) FROM public.user_progress";
        assert_eq!(database.text(points).await, "330 330 80 70", "{tool}");
        if tool == "dbmate" {
            for (_, text) in marea.iter().rev() {
                in_one_transaction(&database, text.split("-- migrate:down").nth(1).expect("a second part"))
                    .await;
            }
            assert_eq!(database.text("SELECT to_regnamespace('marea') IS NULL").await, "true");
            assert_eq!(database.text("SELECT sum(total_points) FROM public.user_progress").await, "810");
        }
    }
    let project = tempfile::tempdir().expect("a folder");
    for (words, problem) in [
        (["--tool", "liquibase"], "--tool: one of supabase, dbmate, flyway, sqlx, psql"),
        (["--framework", "angular"], "--framework: one of react, vue, svelte, vite, next, none"),
    ] {
        let (code, said) = init(project.path(), &words).await;
        assert!(code == 2 && said.contains(problem), "{said}");
    }
    assert!(files(project.path()).is_empty(), "a refused one writes nothing");
    server.cluster.stop().await;
}

#[tokio::test]
async fn both_commands_write_the_same_for_each_framework() {
    for (dependencies, component) in [
        (r#"{"react":"19","vite":"8"}"#, Some("src/Progress.tsx")),
        (r#"{"vue":"3","vite":"8"}"#, Some("src/Progress.vue")),
        (r#"{"svelte":"5","vite":"8"}"#, Some("src/Progress.svelte")),
        (r#"{"vite":"8"}"#, Some("src/marea.ts")),
        (r#"{"next":"16","react":"19"}"#, Some("components/progress.tsx")),
        ("{}", None),
    ] {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        for project in [&one, &other] {
            fs::write(project.path().join("package.json"), format!(r#"{{"dependencies":{dependencies}}}"#))
                .expect("a file");
        }
        let (code, said) = init(one.path(), &["--tool", "psql"]).await;
        assert_eq!(code, 0, "{said}");
        let output = Command::new(program::built("marea-native", "marea"))
            .args(["init", "--tool", "psql", "--project"])
            .arg(other.path())
            .output()
            .await
            .expect("marea runs");
        assert!(output.status.success(), "{output:?}");
        let (written, mut by_marea) = (files(one.path()), files(other.path()));
        // The npm package has it already.
        assert!(by_marea.remove("marea/preflight.sql").is_some());
        assert_eq!(written, by_marea, "{dependencies}");
        match component {
            Some(path) => assert!(written.contains_key(path) && written.contains_key(".env.local"), "{path}"),
            None => assert!(written.keys().all(|path| path == "package.json" || path.starts_with("marea/"))),
        }
    }
}
