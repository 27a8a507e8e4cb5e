//! How much one request carries and asks for: halved when it was too large or too slow for something on the way, and grown
//! again after successes. Pure: the engine keeps it in the mirror, so that a program that runs once at a time learns too.

/// Mutations of one request at most; the server refuses more by name.
const MUTATIONS: usize = 500;
/// Rows of one page at most; the server gives no more.
const PAGE_ROWS: u32 = 2_000;
/// Bytes of one page at most; the server gives no more either.
const PAGE_BYTES: u32 = 1024 * 1024;
/// 500 mutations are halved to one in nine steps, 2,000 rows to one in eleven.
const SMALLEST_BATCH: u32 = 9;
const SMALLEST_PAGE: u32 = 11;
/// Successes after which a size is tried again that has failed over and over.
const MOST_SUCCESSES: u32 = 64;

/// How long a host waits for an answer whatever its size. A full batch takes the server well under a second; a train's
/// network may take many.
const BASE_MS: u64 = 30_000;
/// The slowest line on which a full request still arrives at the first try.
const SLOWEST_BYTES_PER_S: u64 = 16 * 1024;
/// What an answer weighs of which no full page is expected.
const SMALL_ANSWER: u64 = 64 * 1024;
/// A request that takes longer is no reason to send a larger one.
const SLOW_MS: u64 = 5_000;

/// One request, as far as its size and its duration tell something about the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) mutations: usize,
    /// Bytes of the mutations.
    pub(crate) bytes: usize,
    /// Its time limit.
    pub(crate) timeout_ms: u64,
}

/// How often one of the two limits is halved, and when it may grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Halvings {
    count: u32,
    /// Successes since it last changed.
    successes: u32,
    /// Successes that it takes to grow; 0 counts as 1.
    needed: u32,
    /// It has just grown: a failure now says that this is too much.
    grown: bool,
}

impl Halvings {
    /// Says whether that changed anything.
    fn set(&mut self, count: u32) -> bool {
        let changed = count != self.count;
        let needed = if self.grown { (self.needed.max(1) * 2).min(MOST_SUCCESSES) } else { self.needed };
        *self = Halvings { count, successes: 0, needed, grown: false };
        changed
    }

    fn grow(&mut self) {
        if self.count == 0 {
            *self = Halvings::default();
            return;
        }
        self.successes += 1;
        self.grown = self.successes >= self.needed.max(1);
        if self.grown {
            self.count -= 1;
            self.successes = 0;
        }
    }
}

/// The limits of the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    batch: Halvings,
    page: Halvings,
    batch_bytes: usize,
}

impl Limits {
    /// The full ones. `batch_bytes`: what the mutations of one request may weigh at most.
    pub(crate) fn new(batch_bytes: usize) -> Limits {
        Limits { batch: Halvings::default(), page: Halvings::default(), batch_bytes }
    }

    /// Those that [`Limits::kept`] wrote; the full ones where that is missing or unreadable.
    pub(crate) fn read(batch_bytes: usize, kept: Option<&str>) -> Limits {
        let mut limits = Limits::new(batch_bytes);
        let numbers = kept.and_then(|kept| kept.split_once(' '));
        if let Some((batch, page)) = numbers {
            limits.batch.count = batch.parse().unwrap_or(0).min(SMALLEST_BATCH);
            limits.page.count = page.parse().unwrap_or(0).min(SMALLEST_PAGE);
        }
        limits
    }

    /// What is kept of them.
    pub(crate) fn kept(&self) -> String {
        format!("{} {}", self.batch.count, self.page.count)
    }

    /// Mutations of one request at most, at least 1.
    pub(crate) fn mutations(&self) -> usize {
        (MUTATIONS >> self.batch.count).max(1)
    }

    /// Bytes of the mutations of one request at most.
    pub(crate) fn bytes(&self) -> usize {
        self.batch_bytes >> self.batch.count
    }

    /// Rows of one page at most, at least 1.
    pub(crate) fn page_rows(&self) -> u32 {
        (PAGE_ROWS >> self.page.count).max(1)
    }

    /// Bytes of one page at most.
    pub(crate) fn page_bytes(&self) -> u32 {
        PAGE_BYTES >> self.page.count
    }

    /// Whether pages are asked for smaller than the server would give them.
    pub(crate) fn is_page_small(&self) -> bool {
        self.page.count > 0
    }

    /// How long to wait for the answer to a request of so many bytes.
    pub(crate) fn timeout_ms(&self, bytes: usize, expects_page: bool) -> u64 {
        let answer = if expects_page { self.page_bytes().into() } else { SMALL_ANSWER };
        BASE_MS + (bytes as u64 + answer) * 1_000 / SLOWEST_BYTES_PER_S
    }

    /// The next request carries less than this one did: at most half as many mutations, or half their bytes. Says whether it
    /// can.
    pub(crate) fn shrink_batch(&mut self, load: Load) -> bool {
        if load.mutations <= 1 {
            return false;
        }
        let carries_less = |count: &u32| {
            MUTATIONS >> count <= load.mutations / 2 || self.batch_bytes >> count <= load.bytes / 2
        };
        let enough = (self.batch.count + 1..SMALLEST_BATCH).find(carries_less);
        self.batch.set(enough.unwrap_or(SMALLEST_BATCH));
        true
    }

    /// The next page is asked for half as large. Says whether it can be.
    pub(crate) fn shrink_page(&mut self) -> bool {
        self.page.set((self.page.count + 1).min(SMALLEST_PAGE))
    }

    /// After a success that took `took_ms`.
    pub(crate) fn succeeded(&mut self, load: Load, took_ms: u64) {
        if took_ms > load.timeout_ms / 2 && load.timeout_ms > 0 {
            self.shrink_batch(load);
            self.shrink_page();
        } else if took_ms < SLOW_MS {
            if load.mutations > 0 {
                self.batch.grow();
            }
            self.page.grow();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 1_000_000;

    fn load(mutations: usize, bytes: usize) -> Load {
        Load { mutations, bytes, timeout_ms: 30_000 }
    }

    #[test]
    fn each_failure_makes_the_next_request_carry_less_than_the_last_did() {
        let mut limits = Limits::new(FULL);
        let mut mutations = 500;
        let mut steps = 0;
        while mutations > 1 {
            assert!(limits.shrink_batch(load(mutations, mutations * 100)));
            assert!(limits.mutations() <= mutations / 2, "{mutations} -> {}", limits.mutations());
            mutations = limits.mutations();
            steps += 1;
        }
        assert!(steps <= 9, "{steps}");
        assert!(!limits.shrink_batch(load(1, 100)), "no smaller than one");
        let mut heavy = Limits::new(FULL);
        heavy.shrink_batch(load(90, 900_000));
        assert_eq!(heavy.bytes(), 250_000, "by bytes, where these are the reason");
    }

    #[test]
    fn pages_are_halved_down_to_one_row() {
        let mut limits = Limits::new(FULL);
        assert!(!limits.is_page_small());
        let steps = (0..100).take_while(|_| limits.shrink_page()).count();
        assert_eq!((steps, limits.page_rows(), limits.is_page_small()), (11, 1, true));
    }

    #[test]
    fn limits_grow_again_and_a_size_that_fails_again_is_tried_ever_more_rarely() {
        let mut limits = Limits::new(FULL);
        limits.shrink_batch(load(500, 1));
        limits.shrink_page();
        limits.succeeded(load(1, 1), 100);
        assert_eq!((limits.mutations(), limits.page_rows()), (500, 2_000));

        // More than 250 at a time never work.
        let (mut failures, mut successes) = (0, 0);
        for _ in 0..200 {
            if limits.mutations() > 250 {
                limits.shrink_batch(load(limits.mutations(), 1));
                failures += 1;
            } else {
                limits.succeeded(load(limits.mutations(), 1), 100);
                successes += 1;
            }
        }
        assert!(failures <= 8 && successes > 190, "{failures} failures, {successes} successes");
        assert!(limits.mutations() >= 250, "{}", limits.mutations());
    }

    #[test]
    fn what_carries_nothing_says_nothing_about_batches() {
        let mut limits = Limits::new(FULL);
        limits.shrink_batch(load(500, 1));
        limits.succeeded(load(0, 0), 100);
        assert_eq!(limits.mutations(), 250);
    }

    #[test]
    fn a_slow_success_is_no_reason_to_ask_for_more_and_a_very_slow_one_to_ask_for_less() {
        let mut limits = Limits::new(FULL);
        limits.shrink_batch(load(500, 1));
        limits.succeeded(load(250, 1), 6_000);
        assert_eq!((limits.mutations(), limits.page_rows()), (250, 2_000));
        limits.succeeded(load(250, 1), 16_000);
        assert_eq!((limits.mutations(), limits.page_rows()), (125, 1_000));
    }

    #[test]
    fn the_time_limit_follows_the_bytes() {
        let mut limits = Limits::new(FULL);
        assert_eq!(limits.timeout_ms(0, false), 34_000);
        // 940 KB on a line of 20 KB/s take 47 s.
        assert!(limits.timeout_ms(940_000, false) > 60_000);
        assert_eq!(limits.timeout_ms(0, true), 94_000);
        limits.shrink_page();
        assert_eq!(limits.timeout_ms(0, true), 62_000);
    }

    #[test]
    fn what_was_learnt_is_kept_and_nonsense_is_not_believed() {
        let mut limits = Limits::new(FULL);
        limits.shrink_batch(load(500, 1));
        limits.shrink_page();
        let again = Limits::read(FULL, Some(&limits.kept()));
        assert_eq!((again.mutations(), again.page_rows()), (250, 1_000));
        for nonsense in [None, Some(""), Some("x y"), Some("-1 4294967296")] {
            assert_eq!(Limits::read(FULL, nonsense), Limits::new(FULL), "{nonsense:?}");
        }
        assert_eq!(Limits::read(FULL, Some("99 99")).mutations(), 1);
    }
}
