//! A page of changes through the rules of the built-in catalog, and an event into its envelope.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Arc, LazyLock},
};

use criterion::{Criterion, Throughput};
use futures_util::FutureExt;
use rowcast::{
    catalog::{Catalog, Engine, Settings},
    change::{Change, Column, Kind, Op, Page, Row, Table, TableName, Tables},
    event::{EnvelopeStyle, Event},
    position::{Position, Seen},
    wire::{self, Layout},
};
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Runtime;

/// A product as capture writes it.
const PRODUCT: &str = r#"{"id":"product-1","seller_id":"store-1","name":"Stoneware mug","description":"Thrown by hand, holds 350 ml.","price":24.00,"sku":"SKU-1","image":"","images":null,"category":"Kitchen","category_level_1_id":null,"category_level_2_id":null,"category_level_3_id":null,"product_type":"in-stock","stock":1000,"deposit_amount":null,"requires_deposit":0,"variants":null,"discount_percentage":null,"promotion_active":0,"promotion_end_date":null,"shipping_type":null,"flat_shipping_rate":null,"status":"active"}"#;

/// Changes of one page.
const CHANGES: usize = 1_000;

pub fn bench(criterion: &mut Criterion) {
    let (mut engine, page) = (engine(), page(CHANGES));
    let mut group = criterion.benchmark_group("evaluate");
    group.throughput(Throughput::Elements(CHANGES as u64));
    group.bench_function("1,000 changes of stock, rules without lookups", |bencher| {
        bencher.iter(|| evaluate(&mut engine, black_box(&page)));
    });
    group.finish();
}

pub fn bench_encode(criterion: &mut Criterion) {
    let event = stock_changed();
    let mut group = criterion.benchmark_group("encode");
    group.bench_function("product:stock_changed, for its most privileged audience", |bencher| {
        bencher.iter(|| black_box(&event).encode(&event.audiences[0].data, EnvelopeStyle::Nested));
    });
    group.finish();
}

/// What one change of a product's stock comes to.
pub fn stock_changed() -> Event {
    let events = evaluate(&mut engine(), &page(1));
    events.into_iter().find(|event| &*event.kind == "product:stock_changed").expect("the catalog has such a rule")
}

fn evaluate(engine: &mut Engine, page: &Page) -> Vec<Event> {
    let evaluated = engine.evaluate(page).now_or_never().expect("nothing is looked up").expect("nothing is looked up");
    assert!(evaluated.failures.is_empty() && evaluated.events.len() >= page.changes.len());
    evaluated.events
}

/// The built-in catalog on a table of products that no lookup can be asked about.
fn engine() -> Engine {
    // A pool belongs to one, though nobody is asked.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
    let _entered = RUNTIME.enter();
    let catalog = Catalog::built_in(&Settings::new()).expect("the built-in catalog has no faults");
    let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@localhost/nothing").expect("a well-formed URL");
    let mut engine = Engine::new(Arc::new(catalog), pool);
    engine.bind_without_lookups(&tables());
    engine
}

fn tables() -> Tables {
    let columns: BTreeMap<Box<str>, Column> =
        product(&mut Layout::default(), 1000).columns().map(|(name, _)| (name.into(), Column::default())).collect();
    [(TableName::new("public", "products"), Table { columns, captured: true, ..Table::default() })]
        .into_iter()
        .collect()
}

fn product(layout: &mut Layout, stock: usize) -> Row {
    let json = PRODUCT.replace("\"stock\":1000", &format!("\"stock\":{stock}"));
    wire::row_like(layout, &json, |_| Some(Kind::Plain)).expect("a row")
}

/// As they come from the log: rows that share the names of their columns.
fn page(changes: usize) -> Page {
    let mut layout = Layout::default();
    let changes = (0..changes).map(|number| Change {
        id: number as i64,
        xid: 900,
        at: chrono::DateTime::UNIX_EPOCH,
        table: TableName::new("public", "products"),
        op: Op::Update,
        old: Some(product(&mut layout, 1000)),
        new: Some(product(&mut layout, 999)),
        actor: None,
    });
    let position = Position { system: 1, database: 2, seen: Seen::below(900) };
    Page { changes: changes.collect(), position, tables: Arc::new(tables()) }
}
