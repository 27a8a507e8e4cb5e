//! libmarea: the desktop client of `marea-native` for C, and for everything that can call C.
//!
//! What a C programmer reads is `native/include/marea.h`, which is generated from here (`cargo xtask header`). Each entry is a
//! conversion, one call of `marea-native`, and a conversion back; nothing is decided here.
//!
//! **Architecture Invariant:** unsafe code is in `abi` and nowhere else. Pointers are read and written in `abi/edge.rs` only, and
//! every entry runs inside of `edge::guard`, which catches panics.

#[allow(
    unsafe_code,
    unreachable_pub,
    reason = "C hands over pointers, and the header says what it must keep; what C sees is `pub`, and only C sees it"
)]
mod abi;
#[allow(unreachable_pub, reason = "C sees it")]
mod code;
mod config;
mod problem;
mod tokens;
