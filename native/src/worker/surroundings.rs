//! What happens outside and may make a sync or a look worth while: another program's write, a new sign-in, a network that comes
//! back.
//!
//! On Linux the kernel tells (inotify, rtnetlink) and nothing wakes up in between. Elsewhere the mirror is looked at once a second
//! while somebody watches, and the network is left to the app: `Client::signal` with `Signal::Online`.

use std::rc::Rc;
use std::time::Duration;

use marea_core::Signal;

use super::state::State;

/// A commit is to be seen only some time after its log was written, when the disk has it, and nothing tells of that moment: it is
/// looked for a few times, over as long as one may take.
#[cfg(target_os = "linux")]
const LOOKS_MS: [u64; 5] = [20, 80, 400, 1_500, 5_000];
/// A network that comes up brings several addresses.
#[cfg(target_os = "linux")]
const NETWORK_FLOCK: Duration = Duration::from_millis(500);

#[cfg(target_os = "linux")]
pub(super) async fn watch(state: Rc<State>) {
    tokio::join!(watch_files(&state), watch_network(&state));
}

#[cfg(target_os = "linux")]
async fn watch_files(state: &State) {
    let Some(files) = linux::Files::watch(state.mirror_path()) else { return look_each_second(state).await };
    // What was written between opening and now was told to nobody.
    state.look_for_other_writers();
    let mut later: &[u64] = &[];
    loop {
        let seen = match later.split_first() {
            None => files.next().await,
            Some((delay_ms, rest)) => {
                match tokio::time::timeout(Duration::from_millis(*delay_ms), files.next()).await {
                    Ok(seen) => seen,
                    Err(_) => {
                        later = rest;
                        state.look_for_other_writers();
                        continue;
                    }
                }
            }
        };
        let Some(seen) = seen else { return };
        if seen.mirror {
            state.look_for_other_writers();
            later = &LOOKS_MS;
        }
        if seen.sign_ins && state.has_newer_token() {
            state.signal(Signal::NewToken);
        }
    }
}

#[cfg(target_os = "linux")]
async fn watch_network(state: &State) {
    let Some(network) = linux::Network::watch() else { return };
    while network.comes_back().await {
        tokio::time::sleep(NETWORK_FLOCK).await;
        network.forget();
        // With a network that works, a new address changes nothing.
        if state.is_offline() {
            tracing::debug!("the network has changed");
            state.signal(Signal::Online);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) async fn watch(state: Rc<State>) {
    look_each_second(&state).await;
}

async fn look_each_second(state: &State) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if state.is_watched() {
            state.look_for_other_writers();
        }
        if state.has_newer_token() {
            state.signal(Signal::NewToken);
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::io;
    use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
    use std::path::Path;

    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    };
    use tokio::io::unix::AsyncFd;

    use crate::auth::ACCOUNTS_FILE;

    /// Which of the files that matter were touched.
    #[derive(Clone, Copy, Default)]
    pub(super) struct Seen {
        pub(super) mirror: bool,
        pub(super) sign_ins: bool,
    }

    impl Seen {
        pub(super) fn and(self, other: Seen) -> Seen {
            Seen { mirror: self.mirror || other.mirror, sign_ins: self.sign_ins || other.sign_ins }
        }
    }

    /// The mirror's folder.
    pub(super) struct Files {
        inotify: AsyncFd<Raw>,
        /// SQLite's write-ahead log, which every commit is appended to.
        log: OsString,
    }

    struct Raw(Inotify);

    impl AsRawFd for Raw {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    #[expect(deprecated, reason = "the new way is unsafe, for what does not own its descriptor; these do")]
    fn watched<T: AsRawFd>(owned: T) -> io::Result<AsyncFd<T>> {
        AsyncFd::new(owned)
    }

    impl Files {
        pub(super) fn watch(mirror: &Path) -> Option<Files> {
            let mut log = mirror.file_name()?.to_owned();
            log.push("-wal");
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
            let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO;
            inotify.add_watch(mirror.parent()?, flags).ok()?;
            Some(Files { inotify: watched(Raw(inotify)).ok()?, log })
        }

        /// Waits until one that matters was touched; `None` when the system tells no more.
        pub(super) async fn next(&self) -> Option<Seen> {
            loop {
                let mut ready = self.inotify.readable().await.ok()?;
                let seen = self.already_there();
                ready.clear_ready();
                if seen.mirror || seen.sign_ins {
                    return Some(seen);
                }
            }
        }

        /// What has been told already.
        pub(super) fn already_there(&self) -> Seen {
            let mut seen = Seen::default();
            while let Ok(events) = self.inotify.get_ref().0.read_events() {
                seen = events.iter().fold(seen, |seen, event| seen.and(self.meaning(event)));
            }
            seen
        }

        fn meaning(&self, event: &InotifyEvent) -> Seen {
            // Too many at once: then it may have been any.
            let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            let name = event.name.as_deref();
            Seen {
                mirror: lost || name == Some(&self.log),
                sign_ins: lost || name.is_some_and(|name| name == ACCOUNTS_FILE),
            }
        }
    }

    /// The kernel's news about addresses and routes.
    pub(super) struct Network(AsyncFd<OwnedFd>);

    /// RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_IFADDR of `linux/rtnetlink.h`.
    const GROUPS: u32 = 0x10 | 0x40 | 0x100;
    /// RTM_NEWADDR and RTM_NEWROUTE: something has come, not gone.
    const NEWS: [u16; 2] = [20, 24];

    impl Network {
        pub(super) fn watch() -> Option<Network> {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let made =
                socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).ok()?;
            bind(made.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).ok()?;
            Some(Network(watched(made).ok()?))
        }

        /// Waits until an address or a route has come; false when the system tells no more.
        pub(super) async fn comes_back(&self) -> bool {
            loop {
                let Ok(mut ready) = self.0.readable().await else { return false };
                let came = self.forget();
                ready.clear_ready();
                if came {
                    return true;
                }
            }
        }

        /// Takes what has been told already; says whether something has come.
        pub(super) fn forget(&self) -> bool {
            let mut came = false;
            let mut message = [0u8; 8192];
            // The header: four bytes of length, two of type (`struct nlmsghdr`).
            while let Ok(length) = recv(self.0.as_raw_fd(), &mut message, MsgFlags::empty()) {
                if length < 6 {
                    break;
                }
                came |= NEWS.contains(&u16::from_ne_bytes([message[4], message[5]]));
            }
            came
        }
    }
}
