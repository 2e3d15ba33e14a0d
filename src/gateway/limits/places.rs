//! Places for connections: so many in all, and so many for each address.

use std::{
    collections::{HashMap, hash_map},
    net::IpAddr,
    sync::{Arc, Mutex},
};

use super::network::Network;

/// What counts as taken is exactly what lives as a [`Place`]: each was counted once when it was made, and is counted off
/// once when it is dropped.
///
/// Bounded by `in_all`: an address is known while it has a place.
#[derive(Debug)]
pub struct Places {
    in_all: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<Network, usize>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    InAll,
    Address,
}

/// A place that is taken; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    network: Option<Network>,
}

impl Places {
    pub fn new(in_all: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { in_all, per_address, taken: Mutex::default() })
    }

    /// Takes a place. Without an address, as for a proxy that connects for many, it counts only among all.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        let network = address.map(Network::from);
        let mut taken = self.taken.lock().expect("no panic under the lock");
        if taken.in_all >= self.in_all {
            return Err(Full::InAll);
        }
        if let Some(network) = network {
            let of_address = taken.by_address.entry(network).or_default();
            if *of_address >= self.per_address {
                return Err(Full::Address);
            }
            *of_address += 1;
        }
        taken.in_all += 1;
        Ok(Place { places: self.clone(), network })
    }

    /// How many are taken.
    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.taken.lock().expect("no panic under the lock").in_all
    }

    /// How many addresses are known.
    #[cfg(test)]
    pub fn addresses(&self) -> usize {
        self.taken.lock().expect("no panic under the lock").by_address.len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().expect("no panic under the lock");
        taken.in_all -= 1;
        let Some(network) = self.network else { return };
        let hash_map::Entry::Occupied(mut of_address) = taken.by_address.entry(network) else { return };
        *of_address.get_mut() -= 1;
        if *of_address.get() == 0 {
            of_address.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn an_address_has_its_number_of_places_and_leaving_frees_one() {
        let places = Places::new(10, 2);
        let (first, _second) = (places.take(address(1)).unwrap(), places.take(address(1)).unwrap());
        assert_eq!(places.take(address(1)).unwrap_err(), Full::Address);
        let _other = places.take(address(2)).unwrap();
        drop(first);
        places.take(address(1)).unwrap();
    }

    #[test]
    fn all_together_have_their_number_of_places_and_a_proxys_count_only_there() {
        let places = Places::new(3, 1);
        let proxied = [places.take(None).unwrap(), places.take(None).unwrap(), places.take(None).unwrap()];
        assert_eq!(places.take(address(1)).unwrap_err(), Full::InAll);
        drop(proxied);
        assert_eq!((places.taken(), places.addresses()), (0, 0));
    }

    #[test]
    fn refused_ones_leave_no_trace() {
        let places = Places::new(1, 1);
        let only = places.take(address(1)).unwrap();
        for number in 0..1000 {
            places.take(address((number % 250) as u8)).unwrap_err();
        }
        drop(only);
        assert_eq!((places.taken(), places.addresses()), (0, 0));
    }
}
