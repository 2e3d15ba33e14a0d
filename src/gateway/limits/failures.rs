//! Sign-ins that failed, by address.

use std::{net::IpAddr, num::NonZeroUsize, sync::Mutex, time::Instant};

use lru::LruCache;

use super::{minute::Minute, network::Network};

/// So many addresses are remembered; with more, the one that failed longest ago is forgotten. Some 5 MB.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// How many sign-ins from each address failed in its minute.
///
/// Those that are being asked about while the last allowed one fails are answered still, at most as many as the address may
/// have connections.
#[derive(Debug)]
pub struct Failures {
    most: u32,
    by_address: Mutex<LruCache<Network, Minute>>,
}

impl Failures {
    pub fn new(most: u32) -> Self {
        Self { most, by_address: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// In how many seconds nobody at this address will be refused unasked any more; `None` if nobody is.
    pub fn refused_for(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let by_address = self.by_address.lock().expect("no panic under the lock");
        let minute = by_address.peek(&address.into())?;
        (minute.counted(now) >= self.most).then(|| minute.seconds_left(now))
    }

    /// A sign-in from this address has failed.
    pub fn note(&self, address: IpAddr, now: Instant) {
        let mut by_address = self.by_address.lock().expect("no panic under the lock");
        by_address.get_or_insert_mut(address.into(), || Minute::new(now)).count(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn after_its_failures_an_address_is_refused_until_the_minute_is_over_and_others_are_not() {
        let (failures, now) = (Failures::new(3), Instant::now());
        let address = IpAddr::from([10, 0, 0, 1]);
        for second in 0..3 {
            assert_eq!(failures.refused_for(address, now), None);
            failures.note(address, now + Duration::from_secs(second));
        }
        assert_eq!(failures.refused_for(address, now + Duration::from_secs(20)), Some(40));
        assert_eq!(failures.refused_for(IpAddr::from([10, 0, 0, 2]), now), None);
        assert_eq!(failures.refused_for(address, now + Minute::LENGTH), None);
    }

    #[test]
    fn no_number_of_addresses_takes_more_than_so_much_memory() {
        let (failures, now) = (Failures::new(1), Instant::now());
        for number in 0..2 * REMEMBERED.get() as u32 {
            failures.note(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(failures.by_address.lock().unwrap().len(), REMEMBERED.get());
    }
}
