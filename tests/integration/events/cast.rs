//! Who listens, and in which rooms.

/// A client: who it says it is, and what it sends after connecting.
pub struct Member {
    pub name: &'static str,
    /// `None`: a visitor who is not signed in.
    pub user: Option<&'static str>,
    /// Messages, each with the key and the id of its payload.
    pub sends: &'static [(&'static str, &'static str, &'static str)],
}

const fn member(
    name: &'static str,
    user: Option<&'static str>,
    sends: &'static [(&'static str, &'static str, &'static str)],
) -> Member {
    Member { name, user, sends }
}

pub static CAST: [Member; 20] = [
    member("seller-1", Some("seller-1"), &[]),
    // In rooms of several audiences at once: hears what a seller hears, and once.
    member(
        "seller-1 on product-1's page",
        Some("seller-1"),
        &[("join:product", "productId", "product-1"), ("join:storefront", "sellerId", "seller-1")],
    ),
    // In the room user:seller-1 alone, as helper-1 is in the room seller:seller-1 alone.
    member("seller-1 without a dashboard", Some("seller-1"), &[("leave:seller", "sellerId", "seller-1")]),
    member("helper-1", Some("helper-1"), &[]),
    member("admin-1 at seller-1's dashboard", Some("admin-1"), &[("join:seller", "sellerId", "seller-1")]),
    member("admin-1", Some("admin-1"), &[]),
    member("seller-2", Some("seller-2"), &[]),
    member("seller-3", Some("seller-3"), &[]),
    member("seller-3 without a dashboard", Some("seller-3"), &[("leave:seller", "sellerId", "seller-3")]),
    member("admin-1 at seller-3's dashboard", Some("admin-1"), &[("join:seller", "sellerId", "seller-3")]),
    // Has product-1 in the cart too.
    member("buyer-1 on product-1's page", Some("buyer-1"), &[("join:product", "productId", "product-1")]),
    member("buyer-1 on the phone", Some("buyer-1"), &[]),
    // Has product-1 and product-3 in the cart.
    member("buyer-2", Some("buyer-2"), &[]),
    member("buyer-3", Some("buyer-3"), &[]),
    member("buyer-4", Some("buyer-4"), &[]),
    member("a viewer of product-1", None, &[("join:product", "productId", "product-1")]),
    member("a viewer of product-2", None, &[("join:product", "productId", "product-2")]),
    member("a viewer of product-13, a draft", None, &[("join:product", "productId", "product-13")]),
    member("a visitor of seller-1", None, &[("join:storefront", "sellerId", "seller-1")]),
    member("a visitor of seller-2", None, &[("join:storefront", "sellerId", "seller-2")]),
];

pub type Group = &'static [&'static str];

pub const SELLER_1: Group = &[
    "seller-1",
    "seller-1 on product-1's page",
    "seller-1 without a dashboard",
    "helper-1",
    "admin-1 at seller-1's dashboard",
];
/// The same, by whether they see product-1's page.
pub const SELLER_1_ON_PAGE: Group = &["seller-1 on product-1's page"];
pub const SELLER_1_ELSEWHERE: Group =
    &["seller-1", "seller-1 without a dashboard", "helper-1", "admin-1 at seller-1's dashboard"];
pub const SELLER_2: Group = &["seller-2"];
pub const SELLER_3: Group = &["seller-3", "seller-3 without a dashboard", "admin-1 at seller-3's dashboard"];
/// Those at a store's dashboard, in its room.
pub const DASHBOARD_1: Group =
    &["seller-1", "seller-1 on product-1's page", "helper-1", "admin-1 at seller-1's dashboard"];
pub const DASHBOARD_2: Group = &["seller-2"];
pub const DASHBOARD_3: Group = &["seller-3", "admin-1 at seller-3's dashboard"];
/// Those at the store's dashboard whose inbox is not the store's.
pub const OTHERS_1: Group = &["helper-1", "admin-1 at seller-1's dashboard"];
pub const OTHERS_3: Group = &["admin-1 at seller-3's dashboard"];
/// One user, on every device.
pub const USER_SELLER_1: Group = &["seller-1", "seller-1 on product-1's page", "seller-1 without a dashboard"];
pub const USER_SELLER_3: Group = &["seller-3", "seller-3 without a dashboard"];
pub const HELPER_1: Group = &["helper-1"];
/// Of the store that the platform's admin would have.
pub const ADMIN_1: Group = &["admin-1", "admin-1 at seller-1's dashboard", "admin-1 at seller-3's dashboard"];
pub const BUYER_1: Group = &["buyer-1 on product-1's page", "buyer-1 on the phone"];
pub const BUYER_2: Group = &["buyer-2"];
pub const BUYER_3: Group = &["buyer-3"];
pub const BUYER_4: Group = &["buyer-4"];
pub const HOLDERS_OF_1: Group = &["buyer-1 on product-1's page", "buyer-1 on the phone", "buyer-2"];
pub const VIEWERS_OF_1: Group = &["a viewer of product-1", "buyer-1 on product-1's page"];
pub const VIEWERS_OF_2: Group = &["a viewer of product-2"];
pub const VIEWERS_OF_13: Group = &["a viewer of product-13, a draft"];
pub const VISITORS_OF_1: Group = &["a visitor of seller-1"];
pub const VISITORS_OF_2: Group = &["a visitor of seller-2"];

/// Those who are in public rooms and in no other.
pub const PUBLIC: Group = &[
    "a viewer of product-1",
    "a viewer of product-2",
    "a viewer of product-13, a draft",
    "a visitor of seller-1",
    "a visitor of seller-2",
];
