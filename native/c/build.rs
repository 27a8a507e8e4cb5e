//! Gives the shared library the name that programs ask for when they are started, so that a version that breaks the interface
//! can lie beside this one.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The interface's version, not the package's. Installing makes the link of this name.
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmarea.so.0"),
        Ok("macos") => println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libmarea.0.dylib"),
        _ => {}
    }
}
