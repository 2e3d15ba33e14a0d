//! catalog/carts.toml: cart-1 and cart-2 are buyer-1's, cart-3 is buyer-2's, cart-5 a guest's.

use serde_json::{Value, json};

use super::{
    cast::{BUYER_1, BUYER_2, BUYER_4, Group},
    row::{Row, row},
};

pub fn rows() -> Vec<Row> {
    [one_item(), several_items(), variants(), begun_and_ended(), signed_in(), handed_on(), silent()].concat()
}

struct Cart {
    id: &'static str,
    seller: &'static str,
    buyer: Group,
}

const OF_BUYER_1: Cart = Cart { id: "cart-1", seller: "seller-1", buyer: BUYER_1 };
const OF_BUYER_2: Cart = Cart { id: "cart-3", seller: "seller-1", buyer: BUYER_2 };

impl Cart {
    fn gets(&self, name: &str, items: &Value) -> Row {
        row(name, format!("update carts set items = '{items}', updated_at = now() where id = '{}'", self.id))
    }

    /// The row with the event that something happened to one of the items, which are `items` now.
    fn told(&self, row: Row, action: &str, items: &Value, changed: Value) -> Row {
        row.heard(
            "cart:updated",
            &[self.buyer],
            json!({
                "cartId": self.id, "sellerId": self.seller, "action": action, "items": items, "changed": changed,
            }),
        )
    }
}

fn item(product: &str, quantity: u32) -> Value {
    json!({ "productId": product, "quantity": quantity })
}

fn one_item() -> Vec<Row> {
    let cart = OF_BUYER_1;
    let one = |name: &str, action: &str, items: Value, changed: Value| {
        cart.told(cart.gets(name, &items), action, &items, changed)
    };
    vec![
        one(
            "a buyer puts something more into the cart",
            "added",
            json!([item("product-1", 2), item("product-2", 1)]),
            item("product-2", 1),
        ),
        one("a buyer wants more of it", "updated", json!([item("product-1", 5)]), item("product-1", 5)),
        one("a buyer wants less of it", "updated", json!([item("product-1", 1)]), item("product-1", 1)),
        {
            let items = json!([item("product-1", 1)]);
            let row = OF_BUYER_2.gets("a buyer takes one of two things out", &items);
            OF_BUYER_2.told(row, "removed", &items, item("product-3", 0))
        },
        {
            let items = json!([item("product-1", 1), item("product-3", 0)]);
            let row = OF_BUYER_2.gets("a buyer wants none of one of two things", &items);
            OF_BUYER_2.told(row, "removed", &items, item("product-3", 0))
        },
        one("a buyer empties the cart", "cleared", json!([]), json!(null)),
        {
            let row = OF_BUYER_2.gets("a buyer empties a cart of two things", &json!([]));
            OF_BUYER_2.told(row, "cleared", &json!([]), json!(null))
        },
    ]
}

fn several_items() -> Vec<Row> {
    let cart = OF_BUYER_2;
    let items = json!([item("product-1", 4), item("product-2", 1), item("product-4", 2)]);
    let mut row = cart.gets("a cart is written anew, and each thing in it is another", &items);
    for (action, changed) in [
        ("updated", item("product-1", 4)),
        ("added", item("product-2", 1)),
        ("added", item("product-4", 2)),
        ("removed", item("product-3", 0)),
    ] {
        row = cart.told(row, action, &items, changed);
    }
    vec![row]
}

fn variants() -> Vec<Row> {
    let cart = Cart { id: "cart-2", seller: "seller-2", buyer: BUYER_1 };
    let of = |size: &str, quantity: u32| -> Value {
        json!({ "productId": "product-6", "quantity": quantity, "variant": { "size": size, "color": "slate" } })
    };
    let items = json!([of("M", 1), of("S", 3)]);
    let added = cart.gets("the same product in another size is another thing", &items);
    vec![cart.told(added, "added", &items, of("S", 3))]
}

fn begun_and_ended() -> Vec<Row> {
    let new = Cart { id: "cart-9", seller: "seller-2", buyer: BUYER_4 };
    let insert = |name: &str, items: &Value| {
        row(
            name,
            format!(
                "insert into carts (id, seller_id, buyer_id, items)
                 values ('cart-9', 'seller-2', 'buyer-4', '{items}')"
            ),
        )
    };
    let items = json!([item("product-5", 1), item("product-7", 2)]);
    let begun = insert("a cart is begun with two things", &items);
    let begun = new.told(begun, "added", &items, item("product-5", 1));
    vec![
        new.told(begun, "added", &items, item("product-7", 2)),
        insert("a cart is begun with nothing in it", &json!([])),
        OF_BUYER_2.told(
            row("a cart is deleted with what was in it", "delete from carts where id = 'cart-3'"),
            "cleared",
            &json!([]),
            json!(null),
        ),
        row("an empty cart is deleted", "delete from carts where id = 'cart-1'")
            .given("update carts set items = '[]' where id = 'cart-1'"),
    ]
}

fn signed_in() -> Vec<Row> {
    let cart = Cart { id: "cart-5", seller: "seller-1", buyer: BUYER_4 };
    let (before, after) = (json!([item("product-2", 1)]), json!([item("product-2", 1), item("product-1", 2)]));
    let as_it_is = row(
        "a guest signs in, and what is in the cart is theirs",
        "update carts set buyer_id = 'buyer-4' where id = 'cart-5'",
    );
    let with_more = row(
        "a guest signs in, and the cart gets what they left in another",
        format!("update carts set buyer_id = 'buyer-4', items = '{after}' where id = 'cart-5'"),
    );
    let with_more = cart.told(with_more, "added", &after, item("product-2", 1));
    vec![
        cart.told(as_it_is, "added", &before, item("product-2", 1)),
        cart.told(with_more, "added", &after, item("product-1", 2)),
        row("a guest signs in with an empty cart", "update carts set buyer_id = 'buyer-4' where id = 'cart-5'")
            .given("update carts set items = '[]' where id = 'cart-5'"),
    ]
}

/// Cart-3, which has been buyer-2's. To them it is emptied, whatever becomes of it.
fn handed_on() -> Vec<Row> {
    let former = OF_BUYER_2;
    let gone = |name: &str, set: &str| {
        let row = row(name, format!("update carts set {set} where id = 'cart-3'"));
        former.told(row, "cleared", &json!([]), json!(null))
    };
    let new = Cart { id: "cart-3", seller: "seller-1", buyer: BUYER_4 };
    let (as_it_was, other) = (json!([item("product-1", 1), item("product-3", 1)]), json!([item("product-2", 5)]));
    let handed = gone("a cart is handed on to another buyer", "buyer_id = 'buyer-4'");
    let handed = new.told(handed, "added", &as_it_was, item("product-1", 1));
    let with_other = gone(
        "a cart is handed on to another buyer with something else in it",
        &format!("buyer_id = 'buyer-4', items = '{other}'"),
    );
    vec![
        new.told(handed, "added", &as_it_was, item("product-3", 1)),
        new.told(with_other, "added", &other, item("product-2", 5)),
        gone("a cart is handed on and emptied", "buyer_id = 'buyer-4', items = '[]'"),
        gone("somebody signs out, and the cart is a guest's", "buyer_id = null"),
        gone(
            "somebody signs out, and the guest has something else in the cart",
            &format!("buyer_id = null, items = '{other}'"),
        ),
        row(
            "an empty cart is handed on, and gets something in it",
            format!("update carts set buyer_id = null, items = '{other}' where id = 'cart-3'"),
        )
        .given("update carts set items = '[]' where id = 'cart-3'"),
    ]
}

fn silent() -> Vec<Row> {
    vec![
        row(
            "a guest puts something into the cart",
            r#"update carts set items = '[{"productId": "product-1", "quantity": 1}]' where id = 'cart-5'"#,
        ),
        row("a guest empties the cart", "update carts set items = '[]' where id = 'cart-5'"),
        row(
            "a guest begins a cart",
            r#"insert into carts (seller_id, items) values ('seller-1', '[{"productId": "product-1"}]')"#,
        ),
        row("a guest's cart is deleted", "delete from carts where id = 'cart-5'"),
        row("a cart becomes an order", "update carts set status = 'ordered' where id = 'cart-1'"),
        row("a cart is touched", "update carts set updated_at = now() where id = 'cart-1'"),
        OF_BUYER_2.gets(
            "the things in a cart change places, and one gets a note",
            &json!([item("product-3", 1), { "productId": "product-1", "quantity": 1, "note": "for Mum" }]),
        ),
    ]
}
