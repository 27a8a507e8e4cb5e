//! Seeded worlds in which the product's own engine meets everything that goes wrong between devices and a server.
//!
//! Deliberately absent: a mock of the engine. Only what surrounds it is made up: the network, the clocks, and in the
//! fast world the server. One seed decides everything, so a seed replays its world exactly.

mod actions;
mod ahead;
mod beside;
mod device;
mod facts;
mod faults;
mod jobs;
mod network;
mod oracle;
mod packed;
mod page;
mod perils;
mod plan;
mod quiet;
mod refusals;
mod registers;
mod server;
mod set_back;
mod story;
mod told;
mod waits;
mod world;
mod zones;

pub use beside::Beside;
pub use faults::{FAULTS, find, not_found};
pub use packed::unpacked;
pub use refusals::refusal_of;
pub use story::Story;

/// What does not hold in a world, and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The world's seed.
    pub seed: u64,
    /// The step at which it was seen.
    pub step: u32,
    /// What does not hold.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, step {}: {}", self.seed, self.step, self.what)
    }
}

/// Lives through the world of one seed, and lets it come to rest.
///
/// # Errors
/// The first thing that does not hold.
pub fn run(seed: u64, story: &mut Story) -> Result<(), Violation> {
    run_beside(seed, story, None)
}

/// The same with a real server, to which the devices talk. It is expected to panic when the model disagrees with it.
///
/// # Errors
/// The first thing that does not hold.
pub fn run_beside(seed: u64, story: &mut Story, beside: Option<Box<dyn Beside>>) -> Result<(), Violation> {
    let _announced = Announced(seed);
    let mut world = world::World::new(seed, story, beside);
    let lived = world.live().and_then(|()| world.come_to_rest());
    lived.map_err(|what| Violation { seed, step: world.step(), what })
}

/// Lives through many worlds and returns the first violation, if there is one.
pub fn first_violation(seeds: impl IntoIterator<Item = u64>) -> Option<Violation> {
    seeds.into_iter().find_map(|seed| run(seed, &mut Story::untold()).err())
}

/// Lives through the worlds of the first seeds, on all cores; returns the violation of the lowest seed that was met.
pub fn first_violation_on_all_cores(seeds: u64) -> Option<Violation> {
    let cores = cores();
    let met: Vec<Violation> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|core| {
                let own = (0..seeds).filter(move |seed| seed % cores == core);
                scope.spawn(move || first_violation(own))
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("a panic was told above")).collect()
    });
    met.into_iter().min_by_key(|violation| violation.seed)
}

/// How many worlds can be lived through at the same time.
fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64
}

/// Names the seed when a panic ends the world: then no violation can.
struct Announced(u64);

impl Drop for Announced {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation: the panic was in the world of seed {}", self.0);
        }
    }
}
