//! A new day: a streak and a week are others then, though nobody has written anything.
//!
//! On Linux the kernel wakes the thread when the day begins, by the clock on the wall, also when the machine has slept or its clock was set.
//! Elsewhere the clock is looked at once a minute.

use std::rc::Rc;
use std::time::Duration;

use super::state::State;
use crate::clock;

/// How long a new day may stay unnoticed where nothing tells of it.
const LOOK: Duration = Duration::from_secs(60);

/// Reads everything that is watched again soon after the local day has become another.
pub(super) async fn watch(state: Rc<State>) {
    let mut today = clock::today(state.day_starts_at());
    // What was read before that may have been of the day before.
    state.refresh_watchers();
    loop {
        sleep(clock::until_new_day_ms(state.day_starts_at())).await;
        let now = clock::today(state.day_starts_at());
        if now != today {
            today = now;
            state.refresh_watchers();
        }
    }
}

#[cfg(target_os = "linux")]
async fn sleep(wait_ms: u64) {
    if wall::sleep(wait_ms).await.is_none() {
        tokio::time::sleep(LOOK.min(Duration::from_millis(wait_ms))).await;
    }
}

#[cfg(not(target_os = "linux"))]
async fn sleep(wait_ms: u64) {
    tokio::time::sleep(LOOK.min(Duration::from_millis(wait_ms))).await;
}

#[cfg(target_os = "linux")]
mod wall {
    use std::os::fd::{AsFd as _, AsRawFd, RawFd};
    use std::time::Duration;

    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::unix::AsyncFd;

    use crate::clock;

    struct Raw(TimerFd);

    impl AsRawFd for Raw {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    /// Sleeps until so much later on the wall's clock, or until that clock is set; `None` when the system has no such timer.
    pub(super) async fn sleep(wait_ms: u64) -> Option<()> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, flags).ok()?;
        let at = clock::on_the_wall() + Duration::from_millis(wait_ms);
        let when = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        timer.set(Expiration::OneShot(TimeSpec::from_duration(at)), when).ok()?;
        #[expect(
            deprecated,
            reason = "the new way is unsafe, for what does not own its descriptor; this does"
        )]
        let timer = AsyncFd::new(Raw(timer)).ok()?;
        // Out of time, or another time: either way the clock is looked at.
        timer.readable().await.ok().map(drop)
    }
}
