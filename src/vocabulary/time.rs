//! Points in time: monotonic for every timeout, wall clock for what is shown.

use std::ops::Add;
use std::time::Duration;

/// A point on the monotonic clock: nanoseconds since an arbitrary origin.
///
/// ```
/// use ostler::Mono;
/// use std::time::Duration;
/// let later = Mono::from_nanos(5) + Duration::from_nanos(7);
/// assert_eq!(later.since(Mono::from_nanos(5)), Duration::from_nanos(7));
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(u64);

impl Mono {
    /// The point `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Mono {
        Mono(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub const fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    /// Saturates: a deadline too far away is never reached.
    fn add(self, wait: Duration) -> Mono {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Mono(self.0.saturating_add(nanos))
    }
}

/// A point on the wall clock (`CLOCK_REALTIME`, may step): microseconds since the Unix epoch.
///
/// ```
/// assert_eq!(ostler::Wall::from_micros(1_500_000).as_micros(), 1_500_000);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(u64);

impl Wall {
    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Wall {
        Wall(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;

    fn add(self, wait: Duration) -> Wall {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Wall(self.0.saturating_add(micros))
    }
}

/// Both clocks, read once per turn of the loop.
///
/// ```
/// let now = ostler::Now::default();
/// assert_eq!(now.wall.as_micros(), 0);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For people.
    pub wall: Wall,
}
