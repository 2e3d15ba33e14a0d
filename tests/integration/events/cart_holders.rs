//! Who has a product in the cart: found whatever the ids are and however many products change at once; and what becomes
//! of the others while they can't be found.

use std::time::Duration;

use rowcast::{catalog::Catalog, config::Config};
use serde_json::Value;

use super::light::{heard_so_far, named};
use crate::{
    cli::Files,
    support::{client::Client, database::Database, eventually, service::Service},
};

/// Products with the ids 1 to 40 and c1 to c40 of seller-2's; the carts of buyer-3 and buyer-4 hold some of them, one
/// with the ids as numbers.
const PRODUCTS: &str = r#"
    insert into products (id, seller_id, name, price, status)
    select prefix || n, 'seller-2', 'Thing', 1, 'active' from generate_series(1, 40) as n, unnest(array['', 'c']) as prefix;
    update carts set buyer_id = 'buyer-3', items = '[{"productId": 7}, {"productId": "c7"}, 7, "c8"]' where id = 'cart-4';
    insert into carts (seller_id, buyer_id, items) values
      ('seller-2', 'buyer-4', '[{"quantity": 1, "productId": "c30"}]'), ('seller-2', 'buyer-5', '[]');"#;

async fn prices_heard(database: &Database, user: &str, client: &mut Client) -> Vec<String> {
    let heard = heard_so_far(database, user, client).await;
    let mut products: Vec<String> = named(&heard, "product:price_changed")
        .iter()
        .map(|data| data["productId"].as_str().expect("an id").to_owned())
        .collect();
    products.sort();
    products
}

#[tokio::test(flavor = "multi_thread")]
async fn cart_holders_are_found_whatever_the_ids_are_and_however_many_products_change_at_once() {
    let index = "create index on carts using gin (items jsonb_path_ops)";
    for (items, index) in [("jsonb", ""), ("jsonb", index), ("json", ""), ("text", "")] {
        let database = Database::marketplace().await;
        database.run(PRODUCTS).await;
        database
            .run(&format!(
                "alter table carts alter column items drop default, alter column items type {items} using items::text::{items}"
            ))
            .await;
        database.run(index).await;
        let service = Service::start(&database).await;
        let mut buyers = [("buyer-3", vec!["7", "c7"]), ("buyer-4", vec!["c30"]), ("buyer-5", vec![])]
            .map(|(user, expected)| (user, expected, None::<Client>));
        for (user, _, client) in &mut buyers {
            *client = Some(service.connect(user).await);
        }
        database.run("update products set price = price + 1 where id = '7'").await;
        for (user, _, client) in &mut buyers {
            let expected: &[&str] = if *user == "buyer-3" { &["7"] } else { &[] };
            let heard = prices_heard(&database, user, client.as_mut().expect("connected")).await;
            assert_eq!(heard, expected, "{user}, {items}, an id that the cart has as a number");
        }
        for products in ["id in ('7', 'c7', 'c8', 'c30')", "seller_id = 'seller-2'"] {
            database.run(&format!("update products set price = price + 1 where {products}")).await;
            for (user, expected, client) in &mut buyers {
                let heard = prices_heard(&database, user, client.as_mut().expect("connected")).await;
                assert_eq!(heard, *expected, "{user}, {items}, {index}, {products}");
            }
        }
        assert_eq!(database.count("select count(*) from rowcast.dead_letter").await, 0);
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_cart_holders_can_not_be_found_in_time_all_others_hear_and_wait_once() {
    let database = Database::marketplace().await;
    let files: Vec<(&str, String)> = Catalog::built_in_files()
        .map(|(name, text)| {
            (name, text.replace("from carts as cart", "from (select pg_sleep(30)) as slow, carts as cart"))
        })
        .collect();
    let catalog = Files::new(&files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
    let mut config = Config::default();
    config.catalog.dir = Some(catalog.path().into());
    config.lookups.statement_timeout = Duration::from_secs(1);
    let service = Service::start_with(&database, config).await;
    let mut seller = service.connect("seller-1").await;
    let mut visitor = service.visit().await;
    let joined = visitor.emit_with_ack("join:product", serde_json::json!({ "productId": "product-1" })).await;
    assert_eq!(joined["success"], true, "{joined}");
    let mut holder = service.connect("buyer-2").await;

    for price in ["25.00", "26.00", "27.00"] {
        database.run(&format!("update products set price = {price} where id = 'product-1'")).await;
        for client in [&mut seller, &mut visitor] {
            assert_eq!(client.event_named("product:price_changed").await["data"]["newPrice"], price);
        }
    }
    assert_eq!(prices_heard(&database, "buyer-2", &mut holder).await, Vec::<String>::new());
    let letters = "select error from rowcast.dead_letter where rule = 'product:price_changed' order by change_id";
    eventually("each is in the dead letter", async || {
        database.client.query(letters, &[]).await.expect("letters").len() == 3
    })
    .await;
    let letters = database.client.query(letters, &[]).await.expect("letters");
    let errors: Vec<String> = letters.iter().map(|row| row.get(0)).collect();
    for error in &errors {
        let expected = "the audience user:{each.user_id} heard nothing: the lookup \"cart_holders\" failed: \
                        canceling statement due to statement timeout (SQLSTATE 57014)";
        assert!(error.starts_with(expected), "{error}");
    }
    // It was asked once: the first change's page may have been evaluated twice, the others did not wait.
    assert!(errors[1..].iter().all(|error| error.contains("it is not asked again within the next")), "{errors:#?}");
    assert_eq!(
        named(&heard_so_far(&database, "seller-1", &mut seller).await, "product:price_changed"),
        Vec::<&Value>::new()
    );
    service.stop().await;
}
