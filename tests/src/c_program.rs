//! Programs in C against libmarea: the library installed as a user would have it, and compilers run on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::program;

/// libmarea in a prefix of its own, where pkg-config finds it.
pub struct Installed {
    folder: TempDir,
}

impl Installed {
    /// The one that the tests of this process share.
    pub fn shared() -> &'static Installed {
        static SHARED: OnceLock<Installed> = OnceLock::new();
        SHARED.get_or_init(Installed::new)
    }

    fn new() -> Installed {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut install = Command::new(program::built("xtask", "xtask"));
        install.args(["install-c", "--prefix"]).arg(folder.path());
        install.arg("--built").arg(program::c_libraries());
        succeed(install, "cargo xtask install-c");
        Installed { folder }
    }

    /// The folder of the libraries.
    pub fn lib(&self) -> PathBuf {
        self.folder.path().join("lib")
    }

    /// Lets `make` build a target of `examples/c` into a folder of one's own.
    pub fn make(&self, target: &str, cflags: &str, into: &Path) -> PathBuf {
        let example = root().join("examples").join("c");
        let mut make = Command::new("make");
        make.arg("-C").arg(into).arg("-f").arg(example.join("Makefile")).arg(target);
        make.arg(format!("CFLAGS={cflags}")).arg(format!("VPATH={}", example.display()));
        make.env("PKG_CONFIG_PATH", self.lib().join("pkgconfig"));
        succeed(
            make,
            "make (of Debian's packages make, gcc and pkg-config; `cargo xtask setup` installs them)",
        );
        into.join(target)
    }

    /// Compiles a program of `tests/c` against the shared library.
    pub fn compile(&self, name: &str, flags: &[&str], into: &Path) -> PathBuf {
        let program = into.join(name);
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-g"]).args(flags);
        cc.arg("-I").arg(self.folder.path().join("include"));
        cc.arg("-o").arg(&program).arg(root().join("tests").join("c").join(name).with_extension("c"));
        cc.arg("-L").arg(self.lib()).args(["-lmarea", "-lpthread"]);
        cc.arg(format!("-Wl,-rpath,{}", self.lib().display()));
        succeed(cc, "cc (of Debian's package gcc; `cargo xtask setup` installs it)");
        program
    }
}

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Runs a program to its end, which must be a success, without a word on standard error from a sanitizer or anybody else.
///
/// # Panics
/// When it fails, with all that it wrote.
#[track_caller]
pub fn succeed(mut command: Command, what: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{what} does not start: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{stdout}\n{stderr}", output.status);
    output
}
