//! Who listens: sockets in the rooms of storefronts.

use std::sync::Arc;

use anyhow::Result;
use rowcast_bench_load::crowd::{Crowd, Members};

/// As sql/dataset.sql has them: product n is of store n modulo their number.
pub const STORES: u32 = 200;
/// Products in all.
pub const PRODUCTS: u32 = 100_000;

/// Connected sockets, and the rows that they hear of.
#[derive(Debug)]
pub struct Audience {
    /// The sockets.
    pub crowd: Crowd,
    /// The group of each socket.
    pub groups: Vec<u32>,
    /// Rows with the group that hears of them.
    pub rows: Arc<Vec<(String, u32)>>,
}

impl Audience {
    /// Connects `sockets` in all, evenly to the storefronts of `rooms` stores.
    pub fn of_storefronts(address: &str, sockets: usize, rooms: u32) -> Result<Self> {
        let groups: Vec<u32> = (0..sockets as u32).map(|socket| socket % rooms).collect();
        let joins = groups.iter().map(|store| vec![join_storefront(*store)]).collect();
        // Rows next to each other in time are of different stores, and no row comes again soon: nobody waits for a lock.
        let rows = (0..PRODUCTS)
            .filter(|product| product % STORES < rooms)
            .map(|product| (product_id(product), product % STORES));
        let rows = Arc::new(rows.collect());
        Ok(Self { crowd: Crowd::connect(Members { address: address.to_owned(), joins })?, groups, rows })
    }

    /// Connects sockets each in the rooms of `each` products of its own.
    pub fn of_products(address: &str, sockets: u32, each: u32) -> Result<Self> {
        let own = |socket: u32| (0..each).map(move |product| socket * each + product);
        let joins = (0..sockets).map(|socket| own(socket).map(join_product).collect()).collect();
        let rows = (0..sockets).flat_map(|socket| own(socket).map(move |product| (product_id(product), socket)));
        // Again with a distance between the rows of one socket.
        let mut rows: Vec<(String, u32)> = rows.collect();
        fastrand::Rng::with_seed(7).shuffle(&mut rows);
        let crowd = Crowd::connect(Members { address: address.to_owned(), joins })?;
        Ok(Self { crowd, groups: (0..sockets).collect(), rows: Arc::new(rows) })
    }
}

fn product_id(product: u32) -> String {
    format!("product-{product}")
}

fn join_storefront(store: u32) -> String {
    format!(r#"["join:storefront",{{"sellerId":"store-{store}"}}]"#)
}

fn join_product(product: u32) -> String {
    format!(r#"["join:product",{{"productId":"product-{product}"}}]"#)
}
