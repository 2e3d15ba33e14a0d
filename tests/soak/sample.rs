//! What a process and a database take.

use std::{fs, time::Instant};

use tokio_postgres::Client;

/// Ticks of the kernel's clock for processes, in a second: 100 on every Linux.
const TICKS: f64 = 100.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Looks at a process again and again.
pub struct Watcher {
    pid: u32,
    last: (Instant, f64),
}

/// What a process takes.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Resident, in MiB.
    pub memory: f64,
    pub descriptors: f64,
    /// Of one core, in percent, since the last look.
    pub cpu: f64,
}

impl Watcher {
    pub fn new(pid: u32) -> Self {
        Self { pid, last: (Instant::now(), cpu_seconds(pid)) }
    }

    pub fn look(&mut self) -> Taken {
        let (now, cpu) = (Instant::now(), cpu_seconds(self.pid));
        let (before, cpu_before) = std::mem::replace(&mut self.last, (now, cpu));
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("the process runs").count();
        Taken {
            memory: memory(self.pid),
            descriptors: descriptors as f64,
            cpu: 100.0 * (cpu - cpu_before) / (now - before).as_secs_f64(),
        }
    }
}

fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("kB") / 1024.0
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // After the name, which may hold anything but ends with the last parenthesis: utime is the 12th field, stime the 13th.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks"));
    ticks.sum::<f64>() / TICKS
}

/// What the change log and the catalogs of Postgres take, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    pub table: f64,
    pub index: f64,
    /// Rows of the log that are dead, as the statistics have them.
    pub dead: i64,
    pub pg_class: f64,
    pub pg_attribute: f64,
    /// `rowcast.cursor`, which is written to twice a second.
    pub cursor: f64,
    /// How often the log was vacuumed.
    pub vacuums: i64,
}

impl Log {
    pub async fn look(client: &Client) -> Self {
        let sql = "
            select sum(pg_table_size(c.oid))::float8, sum(pg_indexes_size(c.oid))::float8,
                   sum(pg_stat_get_dead_tuples(c.oid))::int8, pg_total_relation_size('pg_class')::float8,
                   pg_total_relation_size('pg_attribute')::float8, pg_total_relation_size('rowcast.cursor')::float8,
                   sum(pg_stat_get_vacuum_count(c.oid) + pg_stat_get_autovacuum_count(c.oid))::int8
            from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'rowcast.change'::regclass";
        let row = client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{error:?}"));
        let mib = |column: usize| row.get::<_, f64>(column) / MIB;
        Self {
            table: mib(0),
            index: mib(1),
            dead: row.get(2),
            pg_class: mib(3),
            pg_attribute: mib(4),
            cursor: mib(5),
            vacuums: row.get(6),
        }
    }

    pub fn total(&self) -> f64 {
        self.table + self.index
    }
}
