//! catalog/products.toml. Rows about stock are in `stock`.

use serde_json::{Value, json};

use super::{
    cast::{
        ADMIN_1, BUYER_1, BUYER_4, Group, HOLDERS_OF_1, SELLER_1, SELLER_1_ELSEWHERE, SELLER_1_ON_PAGE, SELLER_2,
        VIEWERS_OF_1, VIEWERS_OF_2, VIEWERS_OF_13, VISITORS_OF_1, VISITORS_OF_2,
    },
    compare::GENERATED,
    row::{Row, row},
};

pub fn rows() -> Vec<Row> {
    [created(), updated(), hidden(), moved(), deleted(), prices()].concat()
}

/// The data of `product:updated`, of a product of seller-1.
pub fn changes(product: &str, changes: Value) -> Value {
    json!({ "productId": product, "sellerId": "seller-1", "changes": changes })
}

/// The data of `product:created`.
fn is_new(product: &str, seller: &str, name: &str, price: &str, stock: Value) -> Value {
    json!({ "productId": product, "sellerId": seller, "name": name, "price": price, "stock": stock })
}

fn created() -> Vec<Row> {
    vec![
        row(
            "an active product is added, and the database makes its id",
            "insert into products (seller_id, name, price, stock, status, sku, deposit_amount)
             values ('seller-1', 'Jug', 12.5, 5, 'active', 'JC-JUG', 3)",
        )
        .heard(
            "product:created",
            &[SELLER_1, VISITORS_OF_1],
            is_new(GENERATED, "seller-1", "Jug", "12.50", json!(5)),
        ),
        row(
            "a draft is added",
            "insert into products (id, seller_id, name, price) values ('product-20', 'seller-1', 'Jug', 12.50)",
        )
        .heard("product:created", &[SELLER_1], is_new("product-20", "seller-1", "Jug", "12.50", json!(0))),
        row(
            "a product that is yet to come is added, with no stock known",
            "insert into products (id, seller_id, name, price, stock, status)
             values ('product-20', 'seller-1', 'Jug', 12.50, null, 'coming-soon')",
        )
        .heard("product:created", &[SELLER_1], is_new("product-20", "seller-1", "Jug", "12.50", json!(null))),
        row(
            "another seller adds an active product",
            "insert into products (id, seller_id, name, price, status)
             values ('product-20', 'seller-2', 'Shawl', 80, 'active')",
        )
        .heard(
            "product:created",
            &[SELLER_2, VISITORS_OF_2],
            is_new("product-20", "seller-2", "Shawl", "80.00", json!(0)),
        ),
        row(
            "the platform's admin adds a product to a store of their own",
            "insert into products (id, seller_id, name, price) values ('product-20', 'admin-1', 'Voucher', 10)",
        )
        .heard("product:created", &[ADMIN_1], is_new("product-20", "admin-1", "Voucher", "10.00", json!(0))),
    ]
}

fn updated() -> Vec<Row> {
    vec![
        row(
            "a product's texts change, and a helper did it",
            "update products set name = 'Mug', category_level_1_id = 'kitchen', images = '{a.jpg}'
             where id = 'product-1'",
        )
        .done_by("helper-1")
        .heard(
            "product:updated",
            &[SELLER_1, VIEWERS_OF_1, VISITORS_OF_1],
            changes("product-1", json!({ "name": "Mug", "categoryLevel1Id": "kitchen", "images": ["a.jpg"] })),
        ),
        row("a product is written as it was", "update products set name = name, price = price where id = 'product-1'"),
        row(
            "of a change of many columns, shoppers see those that are made for them",
            "update products set name = 'Mug', sku = 'JC-2', deposit_amount = 5, requires_deposit = 1, cost = 9.75
             where id = 'product-1'",
        )
        .given("alter table products add column cost numeric(10, 2)")
        .heard(
            "product:updated",
            &[SELLER_1],
            changes(
                "product-1",
                json!({
                    "name": "Mug", "sku": "JC-2", "depositAmount": "5.00", "requiresDeposit": 1, "cost": "9.75",
                }),
            ),
        )
        .heard(
            "product:updated",
            &[VIEWERS_OF_1, VISITORS_OF_1],
            changes("product-1", json!({ "name": "Mug" })),
        ),
        row(
            "only what shoppers do not see changes",
            "update products set sku = 'JC-2', deposit_amount = 5 where id = 'product-1'",
        )
        .heard(
            "product:updated",
            &[SELLER_1],
            changes("product-1", json!({ "sku": "JC-2", "depositAmount": "5.00" })),
        ),
        row(
            "variants change, which have a sku and a cost each",
            r#"update products set variants = '[{"size": "S", "stock": 2, "sku": "JC-MUG-S", "cost": 3}]'
               where id = 'product-1'"#,
        )
        .heard(
            "product:updated",
            &[SELLER_1],
            changes("product-1", json!({ "variants": [{ "size": "S", "stock": 2, "sku": "JC-MUG-S", "cost": 3 }] })),
        )
        .heard(
            "product:updated",
            &[VIEWERS_OF_1, VISITORS_OF_1],
            changes("product-1", json!({ "variants": [{ "size": "S", "stock": 2 }] })),
        ),
        row(
            "nothing but the sku of a variant changes",
            r#"update products set variants = '[{"size": "S", "sku": "new"}]' where id = 'product-1'"#,
        )
        .given(r#"update products set variants = '[{"size": "S", "sku": "old"}]' where id = 'product-1'"#)
        .heard(
            "product:updated",
            &[SELLER_1],
            changes("product-1", json!({ "variants": [{ "size": "S", "sku": "new" }] })),
        ),
        row(
            "a product takes the id of one that is gone, and viewers of both ids are told",
            "update products set id = 'product-1' where id = 'product-2'",
        )
        .given("delete from products where id = 'product-1'")
        .heard(
            "product:updated",
            &[SELLER_1, VIEWERS_OF_1, VIEWERS_OF_2, VISITORS_OF_1],
            changes("product-1", json!({ "id": "product-1" })),
        ),
        row("a product is paused, which its page says", "update products set status = 'paused' where id = 'product-1'")
            .heard(
                "product:updated",
                &[SELLER_1, VIEWERS_OF_1, VISITORS_OF_1],
                changes("product-1", json!({ "status": "paused" })),
            ),
    ]
}

/// Drafts, and what stops being one or becomes one.
fn hidden() -> Vec<Row> {
    vec![
        row("a draft is edited", "update products set name = 'Butter dish', price = 33 where id = 'product-13'")
            .heard(
                "product:updated",
                &[SELLER_1],
                changes("product-13", json!({ "name": "Butter dish", "price": "33.00" })),
            )
            .heard(
                "product:price_changed",
                &[SELLER_1],
                json!({ "productId": "product-13", "sellerId": "seller-1", "oldPrice": "31.00", "newPrice": "33.00" }),
            ),
        row(
            "a draft is published",
            "update products set name = 'Butter dish', status = 'active' where id = 'product-13'",
        )
        .heard(
            "product:updated",
            &[SELLER_1],
            changes("product-13", json!({ "name": "Butter dish", "status": "active" })),
        )
        .heard(
            "product:updated",
            &[VIEWERS_OF_13, VISITORS_OF_1],
            changes("product-13", json!({ "status": "active" })),
        ),
        row(
            "a draft is published with another stock and price, which were not the public's before",
            "update products set stock = 9, price = 19, status = 'active' where id = 'product-13'",
        )
        .heard(
            "product:updated",
            &[SELLER_1],
            changes("product-13", json!({ "stock": 9, "price": "19.00", "status": "active" })),
        )
        .heard(
            "product:stock_changed",
            &[SELLER_1],
            json!({ "productId": "product-13", "sellerId": "seller-1", "oldStock": 0, "newStock": 9 }),
        )
        .heard(
            "product:price_changed",
            &[SELLER_1],
            json!({ "productId": "product-13", "sellerId": "seller-1", "oldPrice": "31.00", "newPrice": "19.00" }),
        )
        .heard(
            "stock:restocked",
            &[SELLER_1],
            json!({
                "productId": "product-13", "sellerId": "seller-1", "productName": "Butter dish (working title)",
                "newStock": 9,
            }),
        )
        .heard(
            "product:updated",
            &[VIEWERS_OF_13, VISITORS_OF_1],
            changes("product-13", json!({ "status": "active" })),
        ),
        row(
            "a product becomes a draft, and what else is done to it is the seller's business",
            "update products set name = 'Mug', status = 'draft' where id = 'product-1'",
        )
        .heard("product:updated", &[SELLER_1], changes("product-1", json!({ "name": "Mug", "status": "draft" })))
        .heard(
            "product:updated",
            &[VIEWERS_OF_1, VISITORS_OF_1],
            changes("product-1", json!({ "status": "hidden" })),
        ),
        row(
            "a product takes the id of one that is gone as it becomes a draft, which is told under the old one",
            "update products set id = 'product-1', status = 'draft' where id = 'product-2'",
        )
        .given("delete from products where id = 'product-1'")
        .heard("product:updated", &[SELLER_1], changes("product-1", json!({ "id": "product-1", "status": "draft" })))
        .heard(
            "product:updated",
            &[VIEWERS_OF_2, VISITORS_OF_1],
            changes("product-2", json!({ "status": "hidden" })),
        ),
        row("a draft in somebody's cart gets another price", "update products set price = 25 where id = 'product-1'")
            .given("update products set status = 'draft' where id = 'product-1'")
            .heard("product:updated", &[SELLER_1], changes("product-1", json!({ "price": "25.00" })))
            .heard(
                "product:price_changed",
                &[SELLER_1, HOLDERS_OF_1],
                json!({ "productId": "product-1", "sellerId": "seller-1", "oldPrice": "24.00", "newPrice": "25.00" }),
            ),
    ]
}

/// Products of seller-1 that become seller-2's. What their new owner does with them is no business of the old.
fn moved() -> Vec<Row> {
    let of_new = |product: &str, changes: Value| -> Value {
        json!({ "productId": product, "sellerId": "seller-2", "changes": changes })
    };
    let left = |product: &str| changes(product, json!({ "sellerId": "seller-2" }));
    vec![
        row(
            "a product moves to another store, and gets another name and sku there",
            "update products set seller_id = 'seller-2', name = 'Mug', sku = 'N-1' where id = 'product-1'",
        )
        .heard(
            "product:updated",
            &[SELLER_2],
            of_new("product-1", json!({ "name": "Mug", "sellerId": "seller-2", "sku": "N-1" })),
        )
        .heard(
            "product:updated",
            &[VIEWERS_OF_1, SELLER_1_ON_PAGE, VISITORS_OF_2],
            of_new("product-1", json!({ "name": "Mug", "sellerId": "seller-2" })),
        )
        .heard("product:updated", &[SELLER_1_ELSEWHERE, VISITORS_OF_1], left("product-1")),
        row(
            "a product moves to another store under another id, and the store that it leaves knows it by the old one",
            "update products set seller_id = 'seller-2', id = 'product-20' where id = 'product-1'",
        )
        .heard(
            "product:updated",
            &[SELLER_2, VIEWERS_OF_1, SELLER_1_ON_PAGE, VISITORS_OF_2],
            of_new("product-20", json!({ "id": "product-20", "sellerId": "seller-2" })),
        )
        .heard("product:updated", &[SELLER_1_ELSEWHERE, VISITORS_OF_1], left("product-1")),
        row(
            "a draft moves to another store, where it is edited",
            "update products set seller_id = 'seller-2', name = 'Butter dish' where id = 'product-13'",
        )
        .heard(
            "product:updated",
            &[SELLER_2],
            of_new("product-13", json!({ "name": "Butter dish", "sellerId": "seller-2" })),
        )
        .heard("product:updated", &[SELLER_1], left("product-13")),
        row(
            "a product moves to another store and becomes a draft there",
            "update products set seller_id = 'seller-2', name = 'Mug', status = 'draft' where id = 'product-1'",
        )
        .heard(
            "product:updated",
            &[SELLER_2],
            of_new("product-1", json!({ "name": "Mug", "sellerId": "seller-2", "status": "draft" })),
        )
        .heard("product:updated", &[SELLER_1], left("product-1"))
        .heard(
            "product:updated",
            &[VIEWERS_OF_1, VISITORS_OF_1],
            changes("product-1", json!({ "status": "hidden" })),
        ),
        row(
            "a draft moves to another store and is published there",
            "update products set seller_id = 'seller-2', name = 'Butter dish', status = 'active'
             where id = 'product-13'",
        )
        .heard(
            "product:updated",
            &[SELLER_2],
            of_new("product-13", json!({ "name": "Butter dish", "sellerId": "seller-2", "status": "active" })),
        )
        .heard("product:updated", &[SELLER_1], left("product-13"))
        .heard(
            "product:updated",
            &[VIEWERS_OF_13, VISITORS_OF_2],
            of_new("product-13", json!({ "status": "active" })),
        ),
    ]
}

fn deleted() -> Vec<Row> {
    vec![
        row("a product is deleted", "delete from products where id = 'product-1'").heard(
            "product:deleted",
            &[SELLER_1, VIEWERS_OF_1, HOLDERS_OF_1],
            json!({ "productId": "product-1", "sellerId": "seller-1" }),
        ),
        row("a draft is deleted", "delete from products where id = 'product-13'").heard(
            "product:deleted",
            &[SELLER_1],
            json!({ "productId": "product-13", "sellerId": "seller-1" }),
        ),
    ]
}

fn prices() -> Vec<Row> {
    let price = |name: &str, product: &str, from: &str, hearers: &[Group]| {
        let viewers = if product == "product-1" { VIEWERS_OF_1 } else { VIEWERS_OF_2 };
        row(name, format!("update products set price = 19.9 where id = '{product}'"))
            .heard(
                "product:updated",
                &[SELLER_1, viewers, VISITORS_OF_1],
                changes(product, json!({ "price": "19.90" })),
            )
            .heard(
                "product:price_changed",
                &[&[SELLER_1, viewers], hearers].concat(),
                json!({ "productId": product, "sellerId": "seller-1", "oldPrice": from, "newPrice": "19.90" }),
            )
    };
    vec![
        price("a price changes", "product-1", "24.00", &[HOLDERS_OF_1]),
        price("a price changes, and a guest has the product in the cart", "product-2", "68.00", &[]),
        price(
            "a price changes, and one buyer took the product out of the cart while another put it in",
            "product-1",
            "24.00",
            &[BUYER_1, BUYER_4],
        )
        .given(
            r#"update carts set items = '[]' where id = 'cart-3';
               insert into carts (seller_id, buyer_id, items)
               values ('seller-1', 'buyer-4', '[{"productId": "product-9"}, {"productId": "product-1"}]')"#,
        ),
        price("a price changes, and a cart with the product has become an order", "product-1", "24.00", &[BUYER_1])
            .given("update carts set status = 'ordered' where id = 'cart-3'"),
    ]
}
