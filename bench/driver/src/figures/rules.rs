//! How cost grows with rules: the built-in catalog, and ever more rules on the same table whose condition is evaluated for every
//! change and is false.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{bench::Bench, peer::Peer, plot::Chart, results::Results, sql};

const MORE_RULES: [u32; 4] = [0, 50, 100, 200];
const CHANGES: u32 = 20_000;
const TIMEOUT: Duration = Duration::from_secs(60);

pub fn measure(bench: &Bench, results: &mut Results) -> Result<()> {
    let peer = Peer::Rowcast;
    let mut points = Vec::new();
    for more in MORE_RULES {
        let catalog = write_catalog(&bench.programs.root, &bench.programs.work, more)?;
        bench.tidy(peer)?;
        let server = bench.start_with_catalog(&catalog)?;
        bench.catch_up(peer, Some(&server))?;
        let (cpu, swept) = (server.cpu_seconds()?, server.swept()?);
        sql::execute(
            &bench.url(peer),
            &format!(
                "update products set description = description || '.' where id in (select 'product-' || n from generate_series(0, {}) as n)",
                CHANGES - 1
            ),
        )?;
        server.wait_until_swept(swept + f64::from(CHANGES), TIMEOUT)?;
        points.push((f64::from(more), (server.cpu_seconds()? - cpu) * 1e6 / f64::from(CHANGES)));
    }
    results.charts.push(Chart {
        name: "rules",
        title: "CPU for a change",
        x: "rules on the table, beside those that are built in",
        y: "µs of the service's CPU for one change",
        unit: "µs",
        points,
        slope_unit: ("µs for each rule", 1.0),
    });
    Ok(())
}

fn write_catalog(root: &Path, work: &Path, more: u32) -> Result<PathBuf> {
    let directory = work.join(format!("catalog-{more}"));
    fs::create_dir_all(&directory)?;
    for entry in fs::read_dir(root.join("catalog")).context("the checkout has no catalog")? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|ending| ending == "toml")) {
            fs::copy(&path, directory.join(name))?;
        }
    }
    let mut rules = String::new();
    for number in 0..more {
        write!(
            rules,
            "[[rule]]\nevent = \"bench:rule_{number}\"\ntable = \"products\"\non = [\"update\"]\nwhen = \"new.stock == -{number} - 2000000\"\n\
             [rule.data]\nid = \"row.id\"\n[[rule.to]]\nrooms = [\"seller:{{row.seller_id}}\"]\n\n"
        )?;
    }
    fs::write(directory.join("zz-bench.toml"), rules)?;
    Ok(directory)
}
