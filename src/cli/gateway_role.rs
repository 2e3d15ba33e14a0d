//! `rowcast migrate --gateway-role`

use sqlx::{AssertSqlSafe, PgConnection};

use super::progress;
use crate::{
    auth,
    catalog::Catalog,
    config::Config,
    error::Error,
    grants::{self, GatewayRole, Granted, Outcome, Standing, Step, Trust},
};

/// So many rights that the role had before are listed one by one.
const LISTED: usize = 20;

/// Everything that the service asks the application's tables, and so everything that its role is let ask.
fn queries(config: &Config, catalog: &Catalog) -> Vec<Granted> {
    catalog.granted().into_iter().chain(auth::queries(&config.auth).iter().map(auth::NamedQuery::granted)).collect()
}

/// Whether the queries may be granted by this connection's role at all; changes nothing.
pub async fn check(connection: &mut PgConnection, config: &Config, catalog: &Catalog) -> Result<(), Error> {
    Trust::find(connection, &queries(config, catalog)).await?.check()
}

/// Makes the role, grants it the queries, and says what is left to do; with `dry_run`, prints the SQL and does nothing.
pub async fn establish(
    connection: &mut PgConnection,
    role: &str,
    config: &Config,
    catalog: &Catalog,
    dry_run: bool,
) -> Result<(), Error> {
    let role = GatewayRole::find(connection, role).await?;
    let queries = queries(config, catalog);
    let trust = Trust::find(connection, &queries).await?;
    trust.check()?;
    let steps = grants::plan(connection, &role.name, &queries).await?;
    if dry_run {
        trust.warnings().iter().for_each(|warning| progress(warning));
        print(&role, &steps);
        return Ok(());
    }
    let name = role.name.as_str();
    let made = role.establish(connection).await?;
    say!("{}  the role {name}", if made { "made     " } else { "granted  " });
    for step in &steps {
        carry_out(connection, step).await?;
    }
    warn(connection, name).await?;
    trust.warnings().iter().for_each(|warning| progress(warning));
    if let Standing::Present { can_login: false } = role.standing {
        progress(&format!("{name} may not log in: alter role {} login;", grants::quoted(name)));
    }
    if made {
        say!("To do    give it a password: in psql, \\password {name}");
    }
    say!(
        "To do    run `rowcast serve` as {name}: it goes into DATABASE_URL, as postgres://{name}:PASSWORD@HOST:5432/DATABASE"
    );
    Ok(())
}

fn print(role: &GatewayRole, steps: &[Step]) {
    if role.standing == Standing::Absent {
        say!("{}", role.create());
    }
    say!("{}", role.grant());
    for step in steps {
        if let Outcome::LeftOut(reason) = &step.outcome {
            say!("-- left out: the {}: {}", step.title, reason.replace('\n', " "));
        }
        if let Some(sql) = &step.sql {
            say!("begin;\n{sql}\ncommit;");
        }
    }
}

async fn carry_out(connection: &mut PgConnection, step: &Step) -> Result<(), Error> {
    if let Some(sql) = &step.sql {
        // Sent as one message, it is one transaction.
        sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(connection).await.map_err(|error| {
            match error.as_database_error() {
                Some(db) => Error::Database(format!("the {} can't be granted: {}", step.title, db.message())),
                None => error.into(),
            }
        })?;
    }
    match &step.outcome {
        Outcome::Granted => say!("granted    {}", step.title),
        Outcome::Unchanged => say!("unchanged  {}", step.title),
        Outcome::Dropped => say!("dropped    {}", step.title),
        Outcome::LeftOut(reason) => say!("left out   {}: {reason}", step.title),
    }
    Ok(())
}

/// Tells what the role may do that it need not: nothing of that is taken away unasked.
async fn warn(connection: &mut PgConnection, role: &str) -> Result<(), Error> {
    let rights = grants::rights(connection, role).await?;
    if !rights.is_empty() {
        progress(&format!(
            "{role} has rights on the application's tables that the service does without. To take them away:"
        ));
        let mut revokes: Vec<&str> = rights.iter().map(|right| right.revoke.as_str()).collect();
        revokes.dedup();
        revokes.iter().take(LISTED).for_each(|revoke| eprintln!("  {revoke}"));
        if revokes.len() > LISTED {
            eprintln!("  and {} more: run this again afterwards", revokes.len() - LISTED);
        }
    }
    Ok(())
}
