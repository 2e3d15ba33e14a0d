//! catalog/stock.toml, and what catalog/products.toml says of stock.

use serde_json::{Value, json};

use super::{
    cast::{BUYER_1, BUYER_3, Group, HOLDERS_OF_1, SELLER_1, VIEWERS_OF_1, VISITORS_OF_1},
    products::changes,
    row::{Row, row},
};

const NAME: &str = "Stoneware mug, speckled";
const NULL: Value = Value::Null;

pub fn rows() -> Vec<Row> {
    [low(), out(), waited_for(), unknown(), hidden(), own_threshold()].concat()
}

/// Stock of product-1, which shoppers see.
fn stock(name: &str, from: impl Into<Value>, to: impl Into<Value>) -> Row {
    let (from, to) = (from.into(), to.into());
    row(name, format!("update products set stock = {to} where id = 'product-1'"))
        .given(format!("update products set stock = {from} where id = 'product-1'"))
        .heard(
            "product:updated",
            &[SELLER_1, VIEWERS_OF_1, VISITORS_OF_1],
            changes("product-1", json!({ "stock": to })),
        )
        .heard(
            "product:stock_changed",
            &[SELLER_1, VIEWERS_OF_1, HOLDERS_OF_1],
            json!({ "productId": "product-1", "sellerId": "seller-1", "oldStock": from, "newStock": to }),
        )
}

/// The data of `product:low_stock` and `stock:low`, which name the product each in its own way.
fn is_low(key: &str, stock: i32, threshold: i32) -> Value {
    json!({
        "productId": "product-1", "sellerId": "seller-1", key: NAME, "currentStock": stock, "threshold": threshold,
    })
}

fn is_out() -> Value {
    json!({ "productId": "product-1", "sellerId": "seller-1", "productName": NAME })
}

fn is_back(stock: i32) -> Value {
    json!({ "productId": "product-1", "sellerId": "seller-1", "productName": NAME, "newStock": stock })
}

fn low() -> Vec<Row> {
    const ALERTED: &[Group] = &[SELLER_1];
    vec![
        stock("a piece is sold, and there is enough", 18, 17),
        stock("stock falls to the threshold itself", 11, 10),
        stock("stock crosses below the threshold", 10, 9)
            .heard("product:low_stock", ALERTED, is_low("name", 9, 10))
            .heard("stock:low", ALERTED, is_low("productName", 9, 10)),
        stock("stock falls further below the threshold", 9, 8),
        stock("stock rises again, still below the threshold", 3, 9),
        stock("stock rises above the threshold", 9, 30),
        row(
            "a product is added with little stock",
            "insert into products (id, seller_id, name, price, stock) values ('product-20', 'seller-1', 'Jug', 9, 3)",
        )
        .heard(
            "product:created",
            ALERTED,
            json!({ "productId": "product-20", "sellerId": "seller-1", "name": "Jug", "price": "9.00", "stock": 3 }),
        ),
    ]
}

fn out() -> Vec<Row> {
    const ALERTED: &[Group] = &[SELLER_1, VIEWERS_OF_1];
    vec![
        stock("the last piece is sold", 1, 0).heard("stock:out", ALERTED, is_out()),
        stock("everything is sold at once", 18, 0)
            .heard("product:low_stock", &[SELLER_1], is_low("name", 0, 10))
            .heard("stock:out", ALERTED, is_out()),
        stock("more is sold than there is", 2, -1).heard("stock:out", ALERTED, is_out()),
        stock("even more is sold of what is out", 0, -1),
        stock("a backlog shrinks, and still nothing is there", -3, 0),
        stock("a product is there again, though few", 0, 4).heard("stock:restocked", ALERTED, is_back(4)),
        stock("a product is there again, after more was sold than there was", -2, 40).heard(
            "stock:restocked",
            ALERTED,
            is_back(40),
        ),
    ]
}

/// Who looked while it was out is told wherever they are; who is told for another reason too is told once.
fn waited_for() -> Vec<Row> {
    let given = |status: &str| {
        format!(
            "update products set stock = 0, status = '{status}' where id = 'product-1';
             insert into rowcast.waiting (list, id, user_id, at) values
               ('restock', 'product-1', 'buyer-1', now()), ('restock', 'product-1', 'buyer-3', now()),
               ('restock', 'product-1', 'seller-1', now()), ('restock', 'product-2', 'buyer-4', now())"
        )
    };
    vec![
        stock("a product is there again, for which somebody waits", 0, 4).given(given("active")).heard(
            "stock:restocked",
            &[SELLER_1, VIEWERS_OF_1, BUYER_1, BUYER_3],
            is_back(4),
        ),
        row(
            "a product is there again that has become a draft while somebody waited",
            "update products set stock = 4 where id = 'product-1'",
        )
        .given(given("draft"))
        .heard("product:updated", &[SELLER_1], changes("product-1", json!({ "stock": 4 })))
        .heard(
            "product:stock_changed",
            &[SELLER_1, HOLDERS_OF_1],
            json!({ "productId": "product-1", "sellerId": "seller-1", "oldStock": 0, "newStock": 4 }),
        )
        .heard("stock:restocked", &[SELLER_1], is_back(4)),
    ]
}

/// A stock of null says nothing: neither low nor out.
fn unknown() -> Vec<Row> {
    vec![
        stock("stock is not known any more", 5, NULL),
        stock("stock becomes known, and is enough", NULL, 20),
        stock("stock becomes known, and is low", NULL, 5)
            .heard("product:low_stock", &[SELLER_1], is_low("name", 5, 10))
            .heard("stock:low", &[SELLER_1], is_low("productName", 5, 10)),
        stock("what is out becomes unknown", 0, NULL),
        stock("stock becomes known, and there is none", NULL, 0)
            .heard("product:low_stock", &[SELLER_1], is_low("name", 0, 10))
            .heard("stock:out", &[SELLER_1, VIEWERS_OF_1], is_out()),
    ]
}

/// Product-1 as a draft: its viewers hear nothing, those who have it in the cart hear of its stock.
fn hidden() -> Vec<Row> {
    let draft = |name: &str, from: i32, to: i32| {
        row(name, format!("update products set stock = {to} where id = 'product-1'"))
            .given(format!("update products set stock = {from}, status = 'draft' where id = 'product-1'"))
            .heard("product:updated", &[SELLER_1], changes("product-1", json!({ "stock": to })))
            .heard(
                "product:stock_changed",
                &[SELLER_1, HOLDERS_OF_1],
                json!({ "productId": "product-1", "sellerId": "seller-1", "oldStock": from, "newStock": to }),
            )
    };
    vec![
        draft("a draft is sold out", 2, 0).heard("stock:out", &[SELLER_1], is_out()),
        draft("a draft is there again", 0, 15).heard("stock:restocked", &[SELLER_1], is_back(15)),
    ]
}

/// A later version of the application gives each product a threshold of its own.
fn own_threshold() -> Vec<Row> {
    let with_threshold = |name: &str, threshold: &str, from: i32, to: i32| {
        stock(name, from, to).given(format!(
            "alter table products add column low_stock_threshold integer;
             update products set low_stock_threshold = {threshold}, stock = {from} where id = 'product-1'"
        ))
    };
    vec![
        with_threshold("stock crosses below the product's own threshold", "30", 31, 29).heard(
            "product:low_stock",
            &[SELLER_1],
            is_low("name", 29, 30),
        ),
        with_threshold("stock crosses below the common threshold, and not below the product's own", "5", 10, 9).heard(
            "stock:low",
            &[SELLER_1],
            is_low("productName", 9, 10),
        ),
        with_threshold("the product's own threshold is left empty", "null", 10, 9)
            .heard("product:low_stock", &[SELLER_1], is_low("name", 9, 10))
            .heard("stock:low", &[SELLER_1], is_low("productName", 9, 10)),
    ]
}
